/* Counts the blocks that a process asks for with an alignment of 64 bytes or more: LD_PRELOAD this, see memory.py.

   Such blocks are what torch, the C++ code that torch.compile writes, oneDNN and XLA keep arrays in. The objects of
   Python and of compilers are aligned to 16 bytes or fewer, and are not counted. Sizes are those asked for. */

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

extern void *__libc_memalign(size_t alignment, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void __libc_free(void *block);

enum { ALIGNMENT = 64, SLOTS = 1 << 20 };

/* Open addressing: a block lies in the first free slot from its own on. */
static struct { void *block; size_t size; } slots[SLOTS];
static size_t used, live, peak;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

size_t aligned_live(void) { return live; }
size_t aligned_peak(void) { return peak; }
void aligned_reset(void) { peak = live; }

static size_t home(void *block) { return ((uintptr_t)block / ALIGNMENT * 0x9E3779B97F4A7C15u) >> 44; }

static void count(void *block, size_t size) {
    if (!block) return;
    pthread_mutex_lock(&lock);
    if (used < SLOTS / 2) { /* beyond that, which no workload comes near, blocks are not counted */
        size_t i = home(block);
        while (slots[i].block) i = (i + 1) % SLOTS;
        slots[i].block = block;
        slots[i].size = size;
        used++;
        live += size;
        if (live > peak) peak = live;
    }
    pthread_mutex_unlock(&lock);
}

/* Whether the block was counted. What lies behind it moves up, so that no search ends early. */
static int discount(void *block) {
    if (!block || (uintptr_t)block % ALIGNMENT) return 0;
    pthread_mutex_lock(&lock);
    size_t i = home(block);
    while (slots[i].block && slots[i].block != block) i = (i + 1) % SLOTS;
    int counted = slots[i].block != NULL;
    if (counted) {
        live -= slots[i].size;
        used--;
        for (size_t j = (i + 1) % SLOTS; slots[j].block; j = (j + 1) % SLOTS) {
            size_t from_home = (j - home(slots[j].block) + SLOTS) % SLOTS, from_gap = (j - i + SLOTS) % SLOTS;
            if (from_home >= from_gap) {
                slots[i] = slots[j];
                i = j;
            }
        }
        slots[i].block = NULL;
    }
    pthread_mutex_unlock(&lock);
    return counted;
}

void *memalign(size_t alignment, size_t size) {
    void *block = __libc_memalign(alignment, size);
    if (alignment >= ALIGNMENT) count(block, size);
    return block;
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **block, size_t alignment, size_t size) {
    if (alignment % sizeof(void *) || alignment & (alignment - 1) || !alignment) return EINVAL;
    void *made = memalign(alignment, size);
    if (!made) return ENOMEM;
    *block = made;
    return 0;
}

void *realloc(void *block, size_t size) {
    int counted = discount(block);
    void *moved = __libc_realloc(block, size);
    if (counted) count(moved, size);
    return moved;
}

void free(void *block) {
    discount(block);
    __libc_free(block);
}
