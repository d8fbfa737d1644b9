/* The door from Python to `net`: no Python.h is needed, because all of this is in CPython's stable ABI (3.11).

One policy's `self` is the tuple (address of its struct row, action, convert, convert_state, convert_start, refuse): the
view of row.action that is returned, and functions that make sense of unusual input or raise what is wrong. */

typedef struct _object PyObject;
typedef struct {
    void *buf;
    PyObject *obj;
    ptrdiff_t len, itemsize;
    int readonly, ndim;
    char *format;
    ptrdiff_t *shape, *strides, *suboffsets;
    void *internal;
} Py_buffer;
enum { PyBUF_RECORDS_RO = 0x1c, METH_NOARGS = 4, METH_O = 8, METH_FASTCALL = 0x80 };
typedef struct {
    const char *name;
    void *function;
    int flags;
    const char *doc;
} PyMethodDef;
int PyObject_GetBuffer(PyObject *, Py_buffer *, int);
void PyBuffer_Release(Py_buffer *);
void PyErr_Clear(void);
ptrdiff_t PyTuple_Size(PyObject *);
PyObject *PyTuple_GetItem(PyObject *, ptrdiff_t); /* borrowed */
void *PyLong_AsVoidPtr(PyObject *);
int PyObject_IsTrue(PyObject *);
PyObject *PyObject_CallFunctionObjArgs(PyObject *, ...);
void Py_IncRef(PyObject *);
void Py_DecRef(PyObject *);

enum { ROW, ACTION, CONVERT, CONVERT_STATE, CONVERT_START, REFUSE };

/* What one policy writes to. Two memories take turns in `act`; `step` reads the third and writes the fourth. */
struct row {
    float action[ACTIONS];
    uint8_t start, turn, given_start, unused;
    float memory[4][MEMORY ? MEMORY : 1];
};

/* 1 if all are finite, by their bits. */
static int finite(const float *x, int n) {
    uint32_t found = 0;
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        found |= (bits & 0x7f800000) == 0x7f800000;
    }
    return !found;
}

/* Copy n floats from an object; 0 if it is no float32 array (n,). */
static int take(PyObject *from, float *to, int n) {
    Py_buffer view;
    if (!from || PyObject_GetBuffer(from, &view, PyBUF_RECORDS_RO) < 0) {
        PyErr_Clear();
        return 0;
    }
    int fits = view.ndim == 1 && view.shape[0] == n && view.format && !strcmp(view.format, "f");
    if (fits && view.strides[0] == sizeof(float))
        memcpy(to, view.buf, n * sizeof(float));
    else if (fits)
        for (int i = 0; i < n; i++) memcpy(to + i, (const char *)view.buf + i * view.strides[0], sizeof(float));
    PyBuffer_Release(&view);
    return fits;
}

/* The same for a tuple of memories. */
static int take_state(PyObject *state, float *to) {
    int fits = PyTuple_Size(state) == MEMORIES; /* -1 and an error for what is no tuple */
    for (int m = 0; fits && m < MEMORIES; to += WIDTHS[m++]) fits = take(PyTuple_GetItem(state, m), to, WIDTHS[m]);
    if (!fits) PyErr_Clear();
    return fits;
}

static PyObject *ask(PyObject *self, int function, PyObject *about) {
    return PyObject_CallFunctionObjArgs(PyTuple_GetItem(self, function), about, NULL);
}

/* Copy an observation, converted if need be; 0, and Python's error set, if it is none or not finite. */
static int observe(PyObject *self, PyObject *observation, float *to) {
    if (!take(observation, to, OBSERVATION)) {
        PyObject *converted = ask(self, CONVERT, observation);
        if (!converted) return 0;
        int taken = take(converted, to, OBSERVATION);
        Py_DecRef(converted);
        if (!taken) return ask(self, REFUSE, observation), 0;
    }
    if (finite(to, OBSERVATION)) return 1;
    ask(self, REFUSE, observation);
    return 0;
}

/* Run the net from one memory of the row to another; 0 if what comes out is not finite. */
static int decide(struct row *row, const float *observation, const uint8_t *start, int from, int into) {
    const void *in[2 + MEMORIES] = {observation, start};
    void *out[1 + MEMORIES] = {row->action};
    for (int m = 0, at = 0; m < MEMORIES; at += WIDTHS[m++]) {
        in[2 + m] = row->memory[from] + at;
        out[1 + m] = row->memory[into] + at;
    }
    net(in, out);
    return finite(row->action, ACTIONS) && finite(row->memory[into], MEMORY);
}

/* act(observation) -> action. What raises leaves the memory as it was. */
static PyObject *act(PyObject *self, PyObject *observation) {
    struct row *row = PyLong_AsVoidPtr(PyTuple_GetItem(self, ROW));
    float copy[OBSERVATION];
    if (!observe(self, observation, copy)) return NULL;
    if (!decide(row, copy, &row->start, row->turn, !row->turn)) return ask(self, REFUSE, observation);
    row->turn = !row->turn;
    row->start = 0;
    PyObject *action = PyTuple_GetItem(self, ACTION);
    Py_IncRef(action);
    return action;
}

/* step(observation, state, start) -> action, from the caller's memory (None: an episode's start) to the fourth. */
static PyObject *step(PyObject *self, PyObject *const *arguments, ptrdiff_t count) {
    struct row *row = PyLong_AsVoidPtr(PyTuple_GetItem(self, ROW));
    float copy[OBSERVATION];
    if (count != 3 || !observe(self, arguments[0], copy)) return NULL;
    if (!take_state(arguments[1], row->memory[2])) {
        PyObject *converted = ask(self, CONVERT_STATE, arguments[1]);
        if (!converted) return NULL;
        take_state(converted, row->memory[2]);
        Py_DecRef(converted);
    }
    int start = PyObject_IsTrue(arguments[2]); /* of None, a truth value, or an array with one */
    if (start < 0) {
        PyErr_Clear();
        PyObject *converted = ask(self, CONVERT_START, arguments[2]);
        if (!converted) return NULL;
        start = PyObject_IsTrue(converted);
        Py_DecRef(converted);
    }
    row->given_start = start;
    if (!decide(row, copy, &row->given_start, 2, 3)) return ask(self, REFUSE, arguments[0]);
    PyObject *action = PyTuple_GetItem(self, ACTION);
    Py_IncRef(action);
    return action;
}

__attribute__((visibility("default"))) PyMethodDef act_method = {"act", act, METH_O, NULL};
__attribute__((visibility("default"))) PyMethodDef step_method = {"step", step, METH_FASTCALL, NULL};

/* Run the net on n rows; columns of the ports lie one behind the other. */
__attribute__((visibility("default"))) void batch(ptrdiff_t n, const char *const *in, char *const *out) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const void *from[2 + MEMORIES] = {0};
        void *into[1 + MEMORIES];
        for (size_t p = 0; p < sizeof IN_BYTES / sizeof *IN_BYTES; p++) from[p] = in[p] + i * IN_BYTES[p];
        for (size_t p = 0; p < sizeof OUT_BYTES / sizeof *OUT_BYTES; p++) into[p] = out[p] + i * OUT_BYTES[p];
        net(from, into);
    }
}
