"""Compiled tracer of the neutral line: box sum and iso-contours at level 0.

The contours are those of `skimage.measure.find_contours(level=0)`, point by point and in its order, ties included.
One sweep over the rows does all: the 10x10 box sum lives in two rows at a time, each crossing is turned into its
nearest pixel at once, and the pieces of a contour are chained as linked lists, so that joining two of them costs
nothing. Plain versions: tests/plain_features.py.

References
----------
Lorensen and Cline 1987, Computer Graphics 21(4), 163 (marching squares); scikit-image, `find_contours` (the order in
which the pieces are joined).
"""

import numpy as np

from classifier_SVM.feature_kernels import inlined_kernel, kernel

BEFORE, BOX = 5, 10  # rows i-5..i+4, as scipy.signal.convolve2d(mode="same") aligns an even box
# Edges of a square: 0 top, 1 left, 2 bottom, 3 right. For each of its 16 cases (sum of upper left 1, upper right 2,
# lower left 4, lower right 8, where above zero): the edges where the line enters and leaves, low values on its left.
SADDLES = (6, 9)  # with a second line: low values connect across the diagonal
ENTERS = np.array([[-1, 0, 3, 3, 1, 0, 3, 3, 2, 0, 2, 2, 1, 0, 1, -1], 6 * [-1] + [1, -1, -1, 2] + 6 * [-1]]).T.copy()
LEAVES = np.array([[-1, 1, 0, 1, 2, 2, 0, 2, 3, 1, 0, 1, 3, 3, 0, -1], 6 * [-1] + [2, -1, -1, 3] + 6 * [-1]]).T.copy()
NONE_ABOVE, ALL_ABOVE = np.uint64(0), np.uint64(0x0F0F0F0F0F0F0F0F)  # eight squares of case 0, of case 15
PIXEL, NEXT = 0, 1  # columns of `points`
FIRST, LAST, FIRST_NODE, LAST_NODE, ALIVE = range(5)  # columns of `contours`
# A node is where a contour passes: a pixel of exactly zero (kind 0), a horizontal (1) or vertical edge (2) between two
# pixels; its number is 3 * pixel + kind. Only the nodes of two rows are open at a time: tables hold no more.


@kernel
def box_sum_row(field, i, exact, padded, sums):
    """Write row i of the 10x10 box sum: rows i-5..i+4, columns j-5..j+4, zero outside.

    Parameters
    ----------
    field : numpy.ndarray
        int32 or float64, shape (ny, nx).
    i : int
        The row; rows must be asked for in order, from 0.
    exact : bool
        True for int32: the sums over columns are carried from row to row. False: they are made by additions only, so
        that a sum over zeros is zero in float64, too.
    padded : numpy.ndarray
        Same type, shape (3, nx + 9); working space, zero before the first row.
    sums : numpy.ndarray
        Same type, shape (nx,).
    """
    rows, columns = field.shape
    single, pairs, fours = padded[0], padded[1], padded[2]
    inner = single[BEFORE:BEFORE + columns]
    first, new = max(i - BEFORE, 0), i - BEFORE + BOX - 1
    if exact and i > 0:
        if i > BEFORE:
            old = field[i - BEFORE - 1]
            for j in range(columns):
                inner[j] -= old[j]
        first = new
    else:
        single[:] = 0
    for k in range(first, min(new + 1, rows)):
        line = field[k]
        for j in range(columns):
            inner[j] += line[j]
    for j in range(columns + 8):
        pairs[j] = single[j] + single[j + 1]
    for j in range(columns + 6):
        fours[j] = pairs[j] + pairs[j + 2]
    for j in range(columns):
        sums[j] = fours[j] + fours[j + 4] + pairs[j + 8]


@kernel
def _crossed_squares(high, low, codes, words, crossed):
    """List the squares between two rows that the contour crosses, after coding each by its corners above zero."""
    for j in range(high.size - 1):
        codes[j] = high[j] | high[j + 1] << 1 | low[j] << 2 | low[j + 1] << 3
    number = 0
    for w in range(words.size):  # eight squares at a time: most are on one side
        if words[w] != NONE_ABOVE and words[w] != ALL_ABOVE:
            for j in range(8 * w, min(8 * w + 8, high.size - 1)):
                crossed[number] = j  # kept by the count: no branch to mispredict
                number += codes[j] != 0 and codes[j] != 15
    return number


@kernel
def _cross_across(line, row, columns, j, nodes, pixels, place):
    """Note node and nearest pixel where level 0 crosses the edge from column j to the next."""
    start = float(line[j])
    column = j - start / (line[j + 1] - start)
    node = 3 * (row * columns + j)
    nodes[place] = node if column == j else (node + 3 if column == j + 1 else node + 1)
    pixels[place] = row * columns + int(np.rint(column))


@kernel
def _cross_down(upper, lower, row, columns, j, nodes, pixels, place):
    """Note node and nearest pixel where level 0 crosses the edge from a row to the next in column j."""
    start = float(upper[j])
    down = row - start / (lower[j] - start)
    node = 3 * (row * columns + j)
    nodes[place] = node if down == row else (node + 3 * columns if down == row + 1 else node + 2)
    pixels[place] = int(np.rint(down)) * columns + j


@kernel
def _cross_edges(upper, lower, i, codes, crossed, number, edges, nodes, pixels):
    """Note the crossings of the edges that the squares of a row have not in common with those seen before."""
    columns = upper.size
    if number > 0 and crossed[0] == 0 and (codes[0] ^ codes[0] >> 2) & 1:
        _cross_down(upper, lower, i, columns, 0, nodes, pixels, edges[1])
    for k in range(number):
        j = crossed[k]
        code = codes[j]
        if i == 0 and (code ^ code >> 1) & 1:
            _cross_across(upper, i, columns, j, nodes, pixels, edges[0] + j)
        if (code >> 2 ^ code >> 3) & 1:
            _cross_across(lower, i + 1, columns, j, nodes, pixels, edges[2] + j)
        if (code >> 1 ^ code >> 3) & 1:
            _cross_down(upper, lower, i, columns, j + 1, nodes, pixels, edges[3] + j)


@kernel
def _slot(node, first_open, size):
    """Return the place of an open node in the tables, which hold two rows of nodes in turn."""
    slot = node - first_open
    return slot - size if slot >= size else slot


@kernel
def _look_up(table, node, slot):
    """Take the contour that begins (or ends) at a node out of the table; -1 where there is none."""
    if table[slot, 0] != node:
        return -1
    table[slot, 0] = -1
    return table[slot, 1]


@kernel
def _enter(table, node, oldest, first_open, contour):
    """Note that a contour begins (or ends) at a node; nodes before the oldest open one are never looked up again."""
    if node >= oldest:
        slot = _slot(node, first_open, table.shape[0])
        table[slot, 0] = node
        table[slot, 1] = contour


@kernel
def _new_point(points, used, pixel, following):
    """Append a point and return its number."""
    number = used[0]
    points[number, PIXEL] = pixel
    points[number, NEXT] = following
    used[0] = number + 1
    return number


@kernel
def _new_contour(points, contours, used, start, end, start_pixel, end_pixel):
    """Append a contour of two points and return its number."""
    number = used[1]
    used[1] = number + 1
    contours[number, LAST] = _new_point(points, used, end_pixel, -1)
    contours[number, FIRST] = _new_point(points, used, start_pixel, contours[number, LAST])
    contours[number, FIRST_NODE], contours[number, LAST_NODE] = start, end
    contours[number, ALIVE] = 1
    return number


@kernel
def _join(points, contours, starts, ends, oldest, first_open, head, tail):
    """Put two contours together under the number of the older one."""
    points[contours[head, LAST], NEXT] = contours[tail, FIRST]
    kept = min(head, tail)
    contours[max(head, tail), ALIVE] = 0
    contours[kept, FIRST], contours[kept, FIRST_NODE] = contours[head, FIRST], contours[head, FIRST_NODE]
    contours[kept, LAST], contours[kept, LAST_NODE] = contours[tail, LAST], contours[tail, LAST_NODE]
    _enter(starts, contours[kept, FIRST_NODE], oldest, first_open, kept)
    _enter(ends, contours[kept, LAST_NODE], oldest, first_open, kept)


@inlined_kernel
def _add_segment(start, end, start_pixel, end_pixel, oldest, first_open, points, contours, starts, ends, used):
    """Chain the line from one node to another to the contours that meet it."""
    if start == end:
        return  # a corner of exactly zero: a neighbouring square passes through it
    tail = _look_up(starts, end, _slot(end, first_open, starts.shape[0]))
    head = _look_up(ends, start, _slot(start, first_open, ends.shape[0]))
    if tail >= 0 and head >= 0 and tail != head:
        _join(points, contours, starts, ends, oldest, first_open, head, tail)
    elif tail >= 0 and head < 0:
        contours[tail, FIRST] = _new_point(points, used, start_pixel, contours[tail, FIRST])
        contours[tail, FIRST_NODE] = start
        _enter(starts, start, oldest, first_open, tail)
    elif head >= 0:
        number = _new_point(points, used, end_pixel, -1)
        points[contours[head, LAST], NEXT] = number
        contours[head, LAST], contours[head, LAST_NODE] = number, end
        if tail < 0:  # else the contour is closed
            _enter(ends, end, oldest, first_open, head)
    else:
        number = _new_contour(points, contours, used, start, end, start_pixel, end_pixel)
        _enter(starts, start, oldest, first_open, number)
        _enter(ends, end, oldest, first_open, number)


@kernel
def _with_room(rows, used, needed):
    """Return the array, twice as long where fewer than `needed` rows are left."""
    if used + needed <= rows.shape[0]:
        return rows
    longer = np.empty((2 * rows.shape[0] + needed, rows.shape[1]), rows.dtype)
    longer[:used] = rows[:used]
    return longer


@kernel
def trace_neutral_line(field, smooth):
    """Trace the iso-contours at level 0 of the smoothed field.

    Parameters
    ----------
    field : numpy.ndarray
        int32 or float64, shape (ny, nx), at least 2x2, finite.
    smooth : bool
        True: of its 10x10 box sum; False: of the field itself.

    Returns
    -------
    points : numpy.ndarray
        int64, shape (points, 2): nearest pixel (row * nx + column) and number of the following point, -1 at the end.
    firsts : numpy.ndarray
        int64, shape (contours,): the first point of each, contours in the order of `find_contours`.
    """
    rows, columns = field.shape
    row_of_nodes, exact = 3 * columns, field.itemsize == 4
    points, contours = np.empty((32768, 2), np.int64), np.empty((1024, 5), np.int64)
    starts, ends = np.full((2 * row_of_nodes, 2), -1, np.int64), np.full((2 * row_of_nodes, 2), -1, np.int64)
    used, crossed = np.zeros(2, np.int64), np.empty(columns + 1, np.int64)
    padded, sums = np.zeros((3, columns + BOX - 1), field.dtype), np.zeros((2, columns), field.dtype)
    above, codes = np.zeros((2, columns), np.uint8), np.zeros((columns + 7) // 8 * 8, np.uint8)
    words = codes.view(np.uint64)
    # crossings on even rows, on odd rows and between the two lie one after the other: looked up without a branch
    nodes, pixels, edges = np.empty(3 * columns, np.int64), np.empty(3 * columns, np.int64), np.empty(4, np.int64)
    for i in range(-1, rows - 1):
        even, odd = i & 1, (i + 1) & 1
        upper, lower, high, low = sums[even], sums[odd], above[even], above[odd]
        if smooth:
            box_sum_row(field, i + 1, exact, padded, lower)
        else:
            lower[:] = field[i + 1]
        for j in range(columns):
            low[j] = lower[j] > 0
        if i < 0:
            continue
        edges[0], edges[1], edges[2], edges[3] = even * columns, 2 * columns, odd * columns, 2 * columns + 1
        squares = _crossed_squares(high, low, codes, words, crossed)
        _cross_edges(upper, lower, i, codes, crossed, squares, edges, nodes, pixels)
        points, contours = _with_room(points, used[0], 4 * columns), _with_room(contours, used[1], 2 * columns)
        oldest, first_open = row_of_nodes * i, row_of_nodes * (i - even)
        for k in range(squares):
            j = crossed[k]
            case = codes[j]
            for line in range(1 + (case == SADDLES[0] or case == SADDLES[1])):
                start, end = edges[ENTERS[case, line]] + j, edges[LEAVES[case, line]] + j
                _add_segment(nodes[start], nodes[end], pixels[start], pixels[end], oldest, first_open,
                             points, contours, starts, ends, used)
    contours = contours[:used[1]]
    return points[:used[0]], contours[contours[:, ALIVE] == 1, FIRST]
