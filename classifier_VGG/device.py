"""What TensorFlow computes on; to be called before anything imports TensorFlow or Keras."""

import os

from general_code.stage_run import StageRun


def prepare_device(run: StageRun) -> None:
    """Say what computes; let TensorFlow take a GPU's memory as it is needed, not all at once.

    Parameters
    ----------
    run : StageRun
        Told.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it when it is imported
    import keras
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    run.say(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, on {', '.join(names) or 'the CPU'}")
    run.counts["devices"] = names or ["CPU"]
