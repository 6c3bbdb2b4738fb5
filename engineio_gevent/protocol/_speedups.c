/* Frames of a websocket in C. The Python in frames.py, messages.py and masking.py is the reference:
   each function has the signature, the results and the errors of the one that it replaces.

   What split_messages() reads comes from the server: no length in it is trusted. */

#define Py_LIMITED_API 0x030A0000 /* one binary for CPython 3.10 and later */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

#define AS_TEXT(name) #name
#define VALUE_AS_TEXT(name) AS_TEXT(name)

enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
enum { FIN = 0x80, MASKED = 0x80, MAX_SHORT = 125, TWO_BYTES = 126, EIGHT_BYTES = 127 };
enum { KEY_SIZE = 4, MAX_HEADER = 10 + KEY_SIZE, KEY_BLOCK = 4096, DIGIT = '4' };

/* Of one module object, so that no two interpreters have the same keys. */
typedef struct {
    unsigned char keys[KEY_BLOCK];
    int left; /* how many bytes of the keys have not been used */
} State;

/* -- Keys and masks ---------------------------------------------------------------------------- */

/* No two threads or greenlets get the same key: from the last call into Python to the copy, the GIL
   is held. Another thread may fill the block meanwhile. It is then filled with others again. */
static int
draw_key(State *state, unsigned char *key)
{
    PyObject *block = NULL;

    if (!state->left) {
        PyObject *os = PyImport_ImportModule("os");
        char *bytes = NULL;
        Py_ssize_t size = 0;

        block = os ? PyObject_CallMethod(os, "urandom", "i", KEY_BLOCK) : NULL;
        Py_XDECREF(os);
        if (!block || PyBytes_AsStringAndSize(block, &bytes, &size) < 0) {
            Py_XDECREF(block);
            return -1;
        }
        if (size != KEY_BLOCK) {
            Py_DECREF(block);
            PyErr_SetString(PyExc_ValueError, "os.urandom() returned another number of bytes");
            return -1;
        }
        memcpy(state->keys, bytes, KEY_BLOCK);
        state->left = KEY_BLOCK;
    }
    state->left -= KEY_SIZE;
    memcpy(key, state->keys + state->left, KEY_SIZE);
    Py_XDECREF(block); /* not before: its end, too, may run Python that draws keys */
    return 0;
}

static PyObject *
forget_keys(PyObject *module, PyObject *Py_UNUSED(none))
{
    State *state = PyModule_GetState(module);

    state->left = 0;
    memset(state->keys, 0, KEY_BLOCK);
    Py_RETURN_NONE;
}

/* Eight bytes at a time. memcpy() has no need of alignment, and compilers make vectors of it. */
static void
apply_mask(unsigned char *out, const unsigned char *in, Py_ssize_t size, const unsigned char *key)
{
    unsigned char twice[8];
    uint64_t mask, part;
    Py_ssize_t at = 0;

    memcpy(twice, key, KEY_SIZE);
    memcpy(twice + KEY_SIZE, key, KEY_SIZE);
    memcpy(&mask, twice, 8);
    for (; size - at >= 8; at += 8) {
        memcpy(&part, in + at, 8);
        part ^= mask;
        memcpy(out + at, &part, 8);
    }
    for (; at < size; at++)
        out[at] = in[at] ^ key[at % KEY_SIZE];
}

/* The UTF-8 of text is that in the object itself, if it is ASCII, or else is kept there. */
static const unsigned char *
bytes_of(PyObject *payload, Py_ssize_t *size)
{
    char *bytes;

    if (PyUnicode_Check(payload))
        return (const unsigned char *)PyUnicode_AsUTF8AndSize(payload, size);
    if (PyBytes_AsStringAndSize(payload, &bytes, size) < 0)
        return NULL;
    return (const unsigned char *)bytes;
}

static int
check_count(const char *name, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most)
{
    if (count >= least && count <= most)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() got %zd arguments", name, count);
    return -1;
}

static PyObject *
mask(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Py_ssize_t size, key_size, start = 0, stop = PY_SSIZE_T_MAX;
    const unsigned char *payload;
    char *key;
    PyObject *result;

    if (check_count("mask", count, 2, 4) < 0 ||
        PyBytes_AsStringAndSize(args[1], &key, &key_size) < 0)
        return NULL;
    if (key_size != KEY_SIZE) {
        PyErr_SetString(PyExc_ValueError, "a masking key has 4 bytes");
        return NULL;
    }
    payload = bytes_of(args[0], &size);
    if (!payload && !PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
        return NULL;
    if (!payload || (PyUnicode_Check(args[0]) && PyUnicode_GetLength(args[0]) != size)) {
        PyErr_SetString(PyExc_ValueError, "text to mask must be ASCII"); /* replaces the other */
        return NULL;
    }
    if ((count > 2 && (start = PyLong_AsSsize_t(args[2])) == -1 && PyErr_Occurred()) ||
        (count > 3 && (stop = PyLong_AsSsize_t(args[3])) == -1 && PyErr_Occurred()))
        return NULL;
    size = PySlice_AdjustIndices(size, &start, &stop, 1);
    if (!(result = PyBytes_FromStringAndSize(NULL, size)))
        return NULL;
    apply_mask((unsigned char *)PyBytes_AsString(result), payload + start, size,
               (unsigned char *)key);
    return result;
}

/* -- A frame to the server --------------------------------------------------------------------- */

/* Returns the size of the header without the key. */
static int
write_header(unsigned char *out, int opcode, Py_ssize_t size)
{
    int width = size <= MAX_SHORT ? 0 : size < 1 << 16 ? 2 : 8, at;
    uint64_t left = (uint64_t)size;

    out[0] = (unsigned char)(FIN | opcode);
    out[1] = (unsigned char)(MASKED | (!width ? size : width == 2 ? TWO_BYTES : EIGHT_BYTES));
    for (at = 1 + width; at > 1; at--, left >>= 8)
        out[at] = left & 0xff;
    return 2 + width;
}

static PyObject *
encode_frame(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *payload, *result = NULL;
    const unsigned char *bytes;
    unsigned char header[MAX_HEADER], *out;
    Py_ssize_t size;
    long opcode;
    int length;

    if (check_count("encode_frame", count, 2, 2) < 0)
        return NULL;
    opcode = PyLong_AsLong(args[0]);
    if (opcode == -1 && PyErr_Occurred())
        return NULL;
    if (PyUnicode_Check(args[1]) || PyBytes_Check(args[1]))
        Py_INCREF(payload = args[1]);
    else if (!(payload = PyObject_CallFunctionObjArgs((PyObject *)&PyBytes_Type, args[1], NULL)))
        return NULL;
    if (!(bytes = bytes_of(payload, &size)))
        goto done;
    if (opcode != TEXT && opcode != BINARY && opcode != CLOSE && opcode != PING && opcode != PONG) {
        PyErr_SetObject(PyExc_KeyError, args[0]);
        goto done;
    }
    if (size > MAX_SHORT && opcode >= CLOSE) {
        PyErr_SetString(PyExc_ValueError, "a control frame can hold at most 125 bytes");
        goto done;
    }
    if (size > PY_SSIZE_T_MAX - MAX_HEADER) {
        PyErr_NoMemory();
        goto done;
    }
    length = write_header(header, (int)opcode, size);
    if (draw_key(PyModule_GetState(module), header + length) < 0)
        goto done;
    length += KEY_SIZE;
    if ((result = PyBytes_FromStringAndSize(NULL, length + size))) {
        out = (unsigned char *)PyBytes_AsString(result);
        memcpy(out, header, (size_t)length);
        apply_mask(out + length, bytes, size, header + length - KEY_SIZE);
    }
done:
    Py_DECREF(payload);
    return result;
}

/* -- Messages from the server ------------------------------------------------------------------ */

/* Finds the payload of the whole frame that the data begin with, or returns 0. */
static int
find_payload(const unsigned char *data, Py_ssize_t size, Py_ssize_t max_size, Py_ssize_t *start,
             Py_ssize_t *end)
{
    uint64_t length, shortest = 0;
    Py_ssize_t at = 2;
    int width;

    if (size < 2)
        return 0;
    length = data[1];
    if (length > MAX_SHORT) {
        if (length > EIGHT_BYTES) /* masked */
            return 0;
        width = length == TWO_BYTES ? 2 : 8;
        shortest = length == TWO_BYTES ? TWO_BYTES : 1 << 16;
        if (size - at < width)
            return 0;
        for (length = 0; width; width--)
            length = length << 8 | data[at++];
    }
    /* No sum of lengths is computed before they have been compared: it could overflow. */
    if (length < shortest || length > (uint64_t)(size - at) || length > (uint64_t)max_size)
        return 0;
    *start = at;
    *end = at + (Py_ssize_t)length;
    return 1;
}

static PyObject *
split_messages(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *messages, *message, *position, *result = NULL;
    const unsigned char *data;
    char *bytes;
    Py_ssize_t size, start, end, at = 0;
    long long max_size;
    int overflow, failed;

    if (check_count("split_messages", count, 2, 2) < 0)
        return NULL;
    max_size = PyLong_AsLongLongAndOverflow(args[1], &overflow);
    if (max_size == -1 && PyErr_Occurred())
        return NULL;
    if (overflow > 0 || max_size > PY_SSIZE_T_MAX)
        max_size = PY_SSIZE_T_MAX;
    if (PyBytes_AsStringAndSize(args[0], &bytes, &size) < 0 || !(messages = PyList_New(0)))
        return NULL;
    data = (const unsigned char *)bytes;
    while (max_size >= 0 &&
           find_payload(data + at, size - at, (Py_ssize_t)max_size, &start, &end)) {
        const char *payload = (const char *)data + at + start;

        if (data[at] == (FIN | TEXT) && end > start && *payload == DIGIT)
            message = PyUnicode_DecodeUTF8(payload + 1, end - start - 1, NULL);
        else if (data[at] == (FIN | BINARY))
            message = PyBytes_FromStringAndSize(payload, end - start);
        else
            break;
        if (!message) {
            if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
                goto done;
            PyErr_Clear(); /* the decoder reports it */
            break;
        }
        failed = PyList_Append(messages, message);
        Py_DECREF(message);
        if (failed)
            goto done;
        at += end;
    }
    if ((position = PyLong_FromSsize_t(at))) {
        result = PyTuple_Pack(2, messages, position);
        Py_DECREF(position);
    }
done:
    Py_DECREF(messages);
    return result;
}

/* -- The module -------------------------------------------------------------------------------- */

#define FUNCTION(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}

static PyMethodDef functions[] = {
    FUNCTION(encode_frame),
    FUNCTION(mask),
    FUNCTION(split_messages),
    {"forget_keys", forget_keys, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int
set_up(PyObject *module)
{
    return PyModule_AddStringConstant(module, "VERSION", VALUE_AS_TEXT(PACKAGE_VERSION));
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, set_up}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "engineio_gevent.protocol._speedups", NULL, sizeof(State), functions,
    slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
