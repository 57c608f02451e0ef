/* Runs a compiled training step any number of times without going back to Python.

The step is an AOTInductor model: a shared object with a C interface, which takes tensor handles and keeps them.
What a step changes (its leaves) it changes in place; of the batches, stacked, each step gets its slice.
The functions of libtorch come as pointers, so that this file is compiled without PyTorch's headers or libraries. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef void *Tensor;
typedef int32_t Error;

typedef struct {
    Error (*copy)(Tensor, Tensor *);   /* aoti_torch_new_tensor_handle */
    Error (*free)(Tensor);             /* aoti_torch_delete_tensor_object */
    Error (*data)(Tensor, void **);    /* aoti_torch_get_data_ptr */
    Error (*over)(void *, int64_t, const int64_t *, const int64_t *, int64_t, int32_t, int32_t, int32_t, Tensor *);
                                       /* aoti_torch_create_tensor_from_blob */
} Torch;

/* Tensors of one shape, one behind the other in memory: each step is given its own. */
typedef struct {
    int64_t dim;
    const int64_t *sizes, *strides;
    int32_t dtype;
    int64_t bytes; /* from one to the next */
} Stack;

typedef Error (*Run)(void *, Tensor *, size_t, Tensor *, size_t, void *, void *); /* AOTInductorModelContainerRun */

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
/* Numbers too small for a normal float, as in the moments of a dead unit, take many times as long: count them as 0. */
static unsigned flush_denormals(void) { unsigned before = _mm_getcsr(); _mm_setcsr(before | 0x8040); return before; }
static void restore(unsigned before) { _mm_setcsr(before); }
#else
static unsigned flush_denormals(void) { return 0; }
static void restore(unsigned before) { (void)before; }
#endif

/* leaves: what each step is given first, and changes. stacks: what each step is given its own of, and where they begin.
   losses: where each step's loss is put, `size` bytes each. */
Error modgrad_run(const Torch *torch, Run run, void *container, const Tensor *leaves, size_t number_of_leaves,
                  const Stack *stacks, char *const *begin, size_t number_of_stacks, int64_t steps, char *losses,
                  size_t size) {
    size_t total = number_of_leaves + number_of_stacks;
    Tensor *inputs = malloc(total * sizeof(Tensor));
    if (!inputs) return 1;
    unsigned before = flush_denormals();
    Error error = 0;
    for (int64_t k = 0; k < steps && !error; k++) {
        size_t made = 0;
        for (size_t i = 0; i < number_of_leaves && !error; i++)
            if (!(error = torch->copy(leaves[i], &inputs[made]))) made++;
        for (size_t i = 0; i < number_of_stacks && !error; i++) {
            const Stack *s = &stacks[i];
            if (!(error = torch->over(begin[i] + k * s->bytes, s->dim, s->sizes, s->strides, 0, s->dtype, 0, 0,
                                      &inputs[made]))) made++;
        }
        if (error) {
            while (made) torch->free(inputs[--made]);
            break;
        }
        Tensor loss = NULL;
        void *data;
        if ((error = run(container, inputs, total, &loss, 1, NULL, NULL))) break; /* which has taken the inputs */
        if (!(error = torch->data(loss, &data))) memcpy(losses + k * size, data, size);
        torch->free(loss);
    }
    restore(before);
    free(inputs);
    return error;
}
