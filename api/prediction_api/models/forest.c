/* The sums of a forest's leaves, over the nodes that forest.py lays out.

   Which node comes next is known only once its parent is there, so a walk waits for memory at nearly every step.
   Several trees are walked side by side, so that their waits overlap. */

#include <stdint.h>

enum { SIDE_BY_SIDE = 8, FEATURE_BITS = 10 };

typedef struct {
    float split; /* a leaf's value */
    uint32_t way; /* number of the pair of children, above the feature's number; 0 for a leaf */
} Node;

/* The roots are the first nodes. `rows` is (count, features); adds to sums, (count,), in the order of the trees. */
void add_leaves(const Node *nodes, int64_t trees, const float *rows, int64_t count, int64_t features, float *sums)
{
    for (int64_t first = 0; first < trees; first += SIDE_BY_SIDE) {
        int64_t left = trees - first;
        for (int64_t row = 0; row < count; row++) {
            const float *values = rows + row * features;
            uint32_t at[SIDE_BY_SIDE], inner;
            for (int64_t tree = 0; tree < SIDE_BY_SIDE; tree++)
                at[tree] = (uint32_t)(first + (tree < left ? tree : 0));
            do {
                inner = 0;
                for (int tree = 0; tree < SIDE_BY_SIDE; tree++) {
                    Node node = nodes[at[tree]];
                    uint32_t pair = node.way >> FEATURE_BITS;
                    float value = values[node.way & ((1u << FEATURE_BITS) - 1)];
                    at[tree] = pair ? 2 * pair + !(value <= node.split) : at[tree]; /* NaN goes to the second */
                    inner |= pair;
                }
            } while (inner);
            for (int tree = 0; tree < SIDE_BY_SIDE && tree < left; tree++)
                sums[row] += nodes[at[tree]].split;
        }
    }
}
