"""VGG16 as a fixed map from grey levels to features, a softmax head, and the two joined to one model.

Every model is float32 outside; images are (n, 224, 224, 1) grey levels 0..255, so that a saved model carries
its own preprocessing: the channel three times, minus the means of ImageNet (Keras' "caffe" mode).
"""

import keras
import numpy as np

from classifier_VGG.set_metrics import set_metrics
from classifier_VGG.vgg16_weights import CONVOLUTIONS, DENSE, INPUT_PIXELS, Weights
from general_code.stage_files import UserError

IMAGENET_MEANS = (103.939, 116.779, 123.68)  # blue, green, red: keras.applications.vgg16.preprocess_input
CLASSES = 2  # no flare, flare


def build_backbone(weights: Weights, dtype: str = "float32") -> keras.Model:
    """Build the frozen network from grey levels to the outputs of fc2.

    Parameters
    ----------
    weights : Weights
        See `vgg16_weights`.
    dtype : {"float32", "bfloat16"}, optional
        Of weights and arithmetic.

    Returns
    -------
    keras.Model
        (n, 224, 224, 1) grey levels 0..255 to (n, width of fc2) float32; not trainable.
    """
    grey = keras.Input((INPUT_PIXELS, INPUT_PIXELS, 1), name="grey_levels", dtype="float32")
    channels = keras.layers.Concatenate(name="three_channels", dtype="float32")([grey, grey, grey])
    values = keras.layers.Rescaling(1.0, [-mean for mean in IMAGENET_MEANS], name="minus_means",
                                    dtype="float32")(channels)
    for name in CONVOLUTIONS:
        values = keras.layers.Conv2D(weights[name][0].shape[-1], 3, padding="same", activation="relu", name=name,
                                     dtype=dtype, kernel_initializer="zeros")(values)
        if name in _LAST_OF_BLOCK:
            values = keras.layers.MaxPooling2D(name=name[:6] + "_pool", dtype=dtype)(values)
    values = keras.layers.Flatten(name="flatten", dtype=dtype)(values)
    for name in DENSE:
        values = keras.layers.Dense(weights[name][0].shape[-1], activation="relu", name=name, dtype=dtype,
                                    kernel_initializer="zeros")(values)
    features = keras.layers.Activation("linear", name="features", dtype="float32")(values)
    backbone = keras.Model(grey, features, name="VGG16")
    for name in CONVOLUTIONS + DENSE:
        backbone.get_layer(name).set_weights(weights[name])
    backbone.trainable = False
    avoid_xla(backbone)
    return backbone


_LAST_OF_BLOCK = {max(name for name in CONVOLUTIONS if name.startswith(f"block{block}")) for block in range(1, 6)}


def backbone_outputs(backbone: keras.Model, grey: np.ndarray) -> np.ndarray:
    """Return the features of a batch.

    Parameters
    ----------
    backbone : keras.Model
        From `build_backbone`.
    grey : numpy.ndarray
        float32, shape (n, 224, 224): grey levels 0..255, not rounded.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, width); (0, width) for no image.

    Raises
    ------
    UserError
        When all of them are 0.
    """
    if not len(grey):
        return np.empty((0, backbone.output_shape[-1]), np.float32)
    features = np.asarray(backbone.predict_on_batch(grey[..., np.newaxis]))
    if not features.any():
        raise UserError(f"the network gives 0 for each of {features.shape[1]:,} features of {len(grey):,} images: its "
                        "weights are of no use; take another file (--weights)")
    return features


def new_head(width: int, seed: int, learning_rate: float) -> keras.Model:
    """Make the trainable layer that takes the place of VGG16's last one.

    Parameters
    ----------
    width : int
        Number of features.
    seed : int
        Of the first weights (Glorot uniform).
    learning_rate : float
        Of Adam.

    Returns
    -------
    keras.Model
        (n, width) to the probabilities (no flare, flare); compiled, its Adam built.
    """
    layer = keras.layers.Dense(CLASSES, activation="softmax", name="flare", dtype="float32",
                               kernel_initializer=keras.initializers.GlorotUniform(seed))
    head = keras.Sequential([keras.Input((width,), name="features_in"), layer], name="head")
    compile_model(head, keras.optimizers.Adam(learning_rate))
    head.optimizer.build(head.trainable_variables)
    return head


def compile_model(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Give a model the experiment's loss and scores.

    Parameters
    ----------
    model : keras.Model
        Its output are the two probabilities.
    optimizer : keras.optimizers.Optimizer
        May be one already built for the same trainable variables.
    """
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=set_metrics())
    avoid_xla(model)


def avoid_xla(model: keras.Model) -> None:
    """Run TensorFlow's own kernels: XLA, Keras' choice, takes a quarter longer and compiles for each batch size.

    Parameters
    ----------
    model : keras.Model
        Changed in place; other backends keep their ways.
    """
    if keras.backend.backend() == "tensorflow":
        model.jit_compile = False


def assemble(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Join backbone and head to one model that shares their variables.

    Parameters
    ----------
    backbone, head : keras.Model
        As built here.

    Returns
    -------
    keras.Model
        (n, 224, 224, 1) grey levels 0..255 to the probabilities (no flare, flare); compiled with the head's own
        optimizer. VGG16 gives it 134,268,738 parameters, 8,194 of them trainable.
    """
    model = keras.Model(backbone.input, head.get_layer("flare")(backbone.output), name="VGG16_flares")
    compile_model(model, head.optimizer)
    return model
