// Antialiasing of silhouettes after rasterisation, so that images change smoothly with the mesh's outline: Laine et al.
// 2020, "Modular primitives for high-performance differentiable rendering", 3.5.
//
// Two neighbouring pixels that see different triangles, and a silhouette edge of the nearer surface between their
// centres: where the edge lies nearer to the near pixel's centre than to the midpoint, that pixel gets some of the
// other's colour, else the other gets some of the near one's. Edges that are steep on screen act on horizontal pairs,
// flat ones on vertical pairs. Shares are found once for each pair; then every pixel gathers from its four neighbours,
// so that sums have a fixed order.
//
// The paper looks for the silhouette among the edges of the near pixel's own triangle (reach 1). Where a surface curves
// away its last triangles are thinner than a pixel and no centre sees them, so most of a fine mesh's outline is missed:
// with more reach the surface is followed from that triangle across shared edges until it ends or passes the other centre.
#include "mesh.h"
#include "vertex_sums.h"

constexpr int kVerticalPairs = 3;   // flags of a triangle: bits 0-2 its edges for horizontal pairs, 3-5 for vertical ones,
constexpr int kPositive = 1 << 6;   // whether its corners' determinant is positive,
constexpr int kHasArea = 1 << 7;    // and whether it is not 0
constexpr float kTolerance = 1.0f / 128;  // pixels by which snapping may have moved an edge across a centre

struct Corner {
    float x, y, w;
};

__device__ Corner load_corner(const float* clip_positions, long long vertex) {
    const float* p = clip_positions + vertex * 4;
    return {p[0], p[1], p[3]};
}

// Its sign tells on which side of the edge a, b the visible part of triangle a, b, c lies, also across the eye's plane.
__device__ double determinant(Corner a, Corner b, Corner c) {
    return (double)a.x * ((double)b.y * c.w - (double)b.w * c.y) + (double)a.y * ((double)b.w * c.x - (double)b.x * c.w) +
           (double)a.w * ((double)b.x * c.y - (double)b.y * c.x);
}

// Half-edge 3 t + k runs from corner k of triangle t to the next; this is the corner away from it.
__device__ int apex_of(int half_edge) { return half_edge % 3 == 0 ? half_edge + 2 : half_edge - 1; }

// The half-edges of an edge; none where the topology names an edge that does not exist.
__device__ Entries half_edges_of(const int* offsets, int edge, int edge_count, int triangle_count) {
    if ((unsigned)edge >= (unsigned)edge_count) return {0, 0};
    return entries_of(offsets, edge, 3 * triangle_count);
}

// An edge is a silhouette unless another triangle continues the surface on its other side.
extern "C" __global__ void silhouette_edges(const float* __restrict__ clip_positions, const int* __restrict__ triangles,
                                            const int* __restrict__ edge, const int* __restrict__ offsets,
                                            const int* __restrict__ half_edges, unsigned char* __restrict__ flags,
                                            int batch, int vertex_count, int triangle_count, int edge_count, int height,
                                            int width) {
    FOR_EACH_INDEX(i, (long long)batch * triangle_count) {
        const long long image = i / triangle_count, triangle = i - image * triangle_count;
        const float* positions = clip_positions + image * vertex_count * 4;
        const int* corners = corners_of(triangles, (int)triangle, triangle_count, vertex_count);
        flags[i] = 0;
        if (!corners) continue;
        Corner p[3];
        for (int k = 0; k < 3; ++k) p[k] = load_corner(positions, corners[k]);
        const double own = determinant(p[0], p[1], p[2]);
        int found = own > 0.0 ? kPositive | kHasArea : own < 0.0 ? kHasArea : 0;
        for (int k = 0; k < 3 && found; ++k) {
            const Corner a = p[k], b = p[k == 2 ? 0 : k + 1];
            const int apex = corners[k == 0 ? 2 : k - 1];
            const Entries along = half_edges_of(offsets, edge[triangle * 3 + k], edge_count, triangle_count);
            bool continues = false;
            for (int j = along.begin; j < along.end; ++j) {
                if ((unsigned)half_edges[j] >= 3u * triangle_count) continue;
                const int opposite = triangles[apex_of(half_edges[j])];
                if (opposite == apex || (unsigned)opposite >= (unsigned)vertex_count) continue;
                const double other = determinant(a, b, load_corner(positions, opposite));
                continues = continues || (own > 0.0 ? other < 0.0 : other > 0.0);
            }
            if (continues) continue;
            const float dx = (a.x * b.w - b.x * a.w) * (float)width, dy = (a.y * b.w - b.y * a.w) * (float)height;
            found |= 1 << (fabsf(dy) >= fabsf(dx) ? k : k + kVerticalPairs);
        }
        flags[i] = (unsigned char)found;
    }
}

struct Screen {
    const int* triangle_id;
    const float *depth, *clip_positions;
    const int* triangles;
    const unsigned char* flags;
    const int *edge, *offsets, *half_edges;
    int height, width, vertex_count, triangle_count, edge_count, reach;
};

// A silhouette between two neighbouring centres; u runs along the pair, v across it.
struct Crossing {
    bool exists, near_is_first;
    float at;  // pixels from the near centre
    // What its gradient needs: the edge's vertices, relative to the near centre (u, v), and scale * numerator /
    // denominator = at.
    int a, b;
    float centre_u, centre_v, ua, va, wa, ub, vb, wb, scale, numerator, denominator;
};

// The triangle on whose other side of the half-edge (3 t + k) the surface goes on; -1 if there is none.
__device__ int continuation(Screen screen, const unsigned char* flags, int half_edge) {
    const int triangle = half_edge / 3;
    const Entries along =
        half_edges_of(screen.offsets, screen.edge[half_edge], screen.edge_count, screen.triangle_count);
    for (int j = along.begin; j < along.end; ++j) {
        if ((unsigned)screen.half_edges[j] >= 3u * screen.triangle_count) continue;
        const int other = screen.half_edges[j] / 3;
        if (other == triangle || !(flags[other] & kHasArea)) continue;
        // Both run along the edge; where in the same direction, their windings must differ to lie on its two sides.
        const bool same_direction = screen.triangles[half_edge] == screen.triangles[screen.half_edges[j]];
        if (same_direction == (((flags[other] ^ flags[triangle]) & kPositive) != 0)) return screen.half_edges[j];
    }
    return -1;
}

// Between pixel (column, row) of an image, the first, and its neighbour to the right (direction 1) or left (-1); below
// or above where vertical.
__device__ Crossing find_crossing(Screen screen, long long image, int row, int column, bool vertical, int direction) {
    Crossing found;
    found.exists = false;
    const long long first = (image * screen.height + row) * screen.width + column;
    const long long second = first + (vertical ? direction * screen.width : direction);
    const int first_id = screen.triangle_id[first], second_id = screen.triangle_id[second];
    if (first_id == second_id) return found;
    const bool has_first = (unsigned)first_id < (unsigned)screen.triangle_count;
    const bool has_second = (unsigned)second_id < (unsigned)screen.triangle_count;
    const float first_depth = screen.depth[first], second_depth = screen.depth[second];
    found.near_is_first = has_first && (!has_second || first_depth < second_depth ||
                                        (first_depth == second_depth && first_id < second_id));
    if (!found.near_is_first && !has_second) return found;
    if (!found.near_is_first) {
        (vertical ? row : column) += direction;
        direction = -direction;
    }
    const float x = ((float)column + 0.5f) * 2.0f / (float)screen.width - 1.0f;
    const float y = ((float)row + 0.5f) * 2.0f / (float)screen.height - 1.0f;
    found.centre_u = vertical ? y : x;
    found.centre_v = vertical ? x : y;
    found.scale = 0.5f * (float)(direction * (vertical ? screen.height : screen.width));
    const unsigned char* flags = screen.flags + image * screen.triangle_count;
    int triangle = found.near_is_first ? first_id : second_id, entered = -1;
    // The last triangle within reach must have a silhouette; most pairs are settled here where that is the first.
    if (screen.reach == 1 && !(flags[triangle] >> (vertical ? kVerticalPairs : 0) & 7)) return found;
    const int other = found.near_is_first ? second_id : first_id;
    for (int step = 0; step < screen.reach; ++step) {
        if (!(flags[triangle] & kHasArea)) return found;
        const int* corners = screen.triangles + (long long)triangle * 3;
        Corner p[3];
        float v[3];
        for (int k = 0; k < 3; ++k) {
            p[k] = load_corner(screen.clip_positions, image * screen.vertex_count + corners[k]);
            v[k] = fmaf(-found.centre_v, p[k].w, vertical ? p[k].x : p[k].y);
        }
        // A line enters and leaves a triangle through two edges, also through a corner: each is on one side of it,
        // whichever triangle asks (ends on the line count as the top-left rule does). The near centre lies inside the
        // first triangle: of its two crossings the one behind is left out.
        int left = -1;
        const bool leaving = ((flags[triangle] & kPositive) != 0) != vertical;
        for (int k = 0; k < 3; ++k) {
            const int m = k == 2 ? 0 : k + 1;
            if ((v[k] <= 0.0f) == (v[m] <= 0.0f) || triangle * 3 + k == entered) continue;
            const float denominator = p[k].w * v[m] - p[m].w * v[k];
            if (!(denominator * (v[m] - v[k]) > 0.0f)) continue;  // w of the crossing, times the square of v[m] - v[k]
            if (entered < 0 && (denominator * found.scale > 0.0f) != leaving) continue;
            left = k;
            found.denominator = denominator;
        }
        if (left < 0) return found;
        const int next = left == 2 ? 0 : left + 1;
        found.ua = fmaf(-found.centre_u, p[left].w, vertical ? p[left].y : p[left].x);
        found.ub = fmaf(-found.centre_u, p[next].w, vertical ? p[next].y : p[next].x);
        found.va = v[left];
        found.vb = v[next];
        found.numerator = found.ua * found.vb - found.ub * found.va;
        found.at = found.scale * found.numerator / found.denominator;
        if (!(found.at <= 1.0f + kTolerance)) return found;
        if (flags[triangle] >> left & (1 | 1 << kVerticalPairs)) {
            found.a = corners[left];
            found.b = corners[next];
            found.wa = p[left].w;
            found.wb = p[next].w;
            found.exists =
                (flags[triangle] >> (vertical ? left + kVerticalPairs : left) & 1) && found.at >= -kTolerance;
            return found;
        }
        entered = continuation(screen, flags, triangle * 3 + left);
        if (entered < 0) return found;
        triangle = entered / 3;
        if (triangle == other) return found;
    }
    return found;
}

__device__ float clamped(float at) { return minimum(maximum(at, 0.0f), 1.0f); }

__device__ bool is_inside(int row, int column, int height, int width) {
    return (unsigned)row < (unsigned)height && (unsigned)column < (unsigned)width;
}

// For each pixel and its right and its lower neighbour: what share of the neighbour's colour it gets, or minus the share
// of its own that the neighbour gets. Where the edge lies before the midpoint, the near pixel gets something.
extern "C" __global__ void silhouette_shares(const int* __restrict__ triangle_id, const float* __restrict__ depth,
                                             const float* __restrict__ clip_positions,
                                             const int* __restrict__ triangles,
                                             const unsigned char* __restrict__ flags, const int* __restrict__ edge,
                                             const int* __restrict__ offsets, const int* __restrict__ half_edges,
                                             float* __restrict__ shares, int batch, int height, int width,
                                             int vertex_count, int triangle_count, int edge_count, int reach) {
    const Screen screen = {triangle_id, depth, clip_positions, triangles, flags, edge, offsets, half_edges,
                           height, width, vertex_count, triangle_count, edge_count, reach};
    FOR_EACH_PIXEL(flat_row, column, (long long)batch * height, width) {
        const long long image = flat_row / height, pixel = flat_row * width + column;
        const int row = (int)(flat_row - image * height);
        for (int vertical = 0; vertical < 2; ++vertical) {
            float share = 0.0f;
            if (is_inside(row + vertical, (int)column + 1 - vertical, height, width) &&
                triangle_id[pixel] != triangle_id[pixel + (vertical ? width : 1)]) {
                const Crossing crossing = find_crossing(screen, image, row, (int)column, vertical, 1);
                if (crossing.exists)
                    share = (crossing.near_is_first ? 1.0f : -1.0f) * (0.5f - clamped(crossing.at));
            }
            shares[2 * pixel + vertical] = share;
        }
    }
}

// Transposed: the gradient of the image, else the image. The second of a pair has the share's opposite sign.
template <bool kTransposed>
__device__ void blend_pixel(const float* values, const float* shares, long long row, int column, int height, int width,
                            int channels, float* out) {
    const long long pixel = row * width + column;
    const float share[4] = {column > 0 ? -shares[2 * (pixel - 1)] : 0.0f, shares[2 * pixel],
                            row % height > 0 ? -shares[2 * (pixel - width) + 1] : 0.0f, shares[2 * pixel + 1]};
    const float* own = values + pixel * channels;
    out += pixel * channels;
    for (int c = 0; c < channels; ++c) out[c] = own[c];
    if (share[0] == 0.0f && share[1] == 0.0f && share[2] == 0.0f && share[3] == 0.0f) return;
    for (int side = 0; side < 4; ++side) {
        if (share[side] == 0.0f) continue;  // there may be no such neighbour
        const float* other = own + (side < 2 ? 2 * side - 1 : (2 * side - 5) * (long long)width) * channels;
        for (int c = 0; c < channels; ++c) {
            if (share[side] > 0.0f) out[c] += share[side] * (kTransposed ? -own[c] : other[c] - own[c]);
            if (kTransposed && share[side] < 0.0f) out[c] -= share[side] * other[c];
        }
    }
}

extern "C" __global__ void antialias_pixels(const float* __restrict__ image, const float* __restrict__ shares,
                                            float* __restrict__ out, int batch, int height, int width, int channels) {
    FOR_EACH_PIXEL(row, column, (long long)batch * height, width)
        blend_pixel<false>(image, shares, row, (int)column, height, width, channels, out);
}

extern "C" __global__ void antialias_vjp_image(const float* __restrict__ grad, const float* __restrict__ shares,
                                               float* __restrict__ out, int batch, int height, int width,
                                               int channels) {
    FOR_EACH_PIXEL(row, column, (long long)batch * height, width)
        blend_pixel<true>(grad, shares, row, (int)column, height, width, channels, out);
}

// Gradient of at = scale * numerator / denominator, times to_at, for the edge's two vertices.
__device__ void crossing_vjp(const Crossing& crossing, float to_at, bool vertical, float to_a[4], float to_b[4]) {
    const float g = to_at * crossing.scale / crossing.denominator;
    const float offset = crossing.numerator / crossing.denominator;
    const float to_ua = g * crossing.vb, to_ub = -g * crossing.va;
    const float to_va = g * (offset * crossing.wb - crossing.ub), to_vb = g * (crossing.ua - offset * crossing.wa);
    const float to_wa = -g * offset * crossing.vb, to_wb = g * offset * crossing.va;
    to_a[vertical ? 1 : 0] = to_ua;
    to_a[vertical ? 0 : 1] = to_va;
    to_a[2] = 0.0f;
    to_a[3] = to_wa - crossing.centre_u * to_ua - crossing.centre_v * to_va;
    to_b[vertical ? 1 : 0] = to_ub;
    to_b[vertical ? 0 : 1] = to_vb;
    to_b[2] = 0.0f;
    to_b[3] = to_wb - crossing.centre_u * to_ub - crossing.centre_v * to_vb;
}

__device__ void note_or_add(VertexSums target, long long vertex, const float terms[4]) {
    if (target.sums) {
        add_to_vertex(target, vertex, 0, terms, 4);
        return;
    }
    for (int c = 0; c < 4; ++c) atomic_maximum(&target.magnitudes[vertex], magnitude_bits(terms[c]));
}

// An index is a piece of a row; each pixel answers for the pairs with its right and lower neighbours. Launched twice, as
// rasterize_vjp_pixels.
extern "C" __global__ void antialias_vjp_clip(const float* __restrict__ image, const int* __restrict__ triangle_id,
                                              const float* __restrict__ depth,
                                              const float* __restrict__ clip_positions,
                                              const int* __restrict__ triangles,
                                              const unsigned char* __restrict__ flags,
                                              const int* __restrict__ edge, const int* __restrict__ offsets,
                                              const int* __restrict__ half_edges, const float* __restrict__ shares,
                                              const float* __restrict__ grad, int* magnitudes,
                                              unsigned long long* sums, int batch, int height, int width,
                                              int vertex_count, int triangle_count, int edge_count, int reach,
                                              int channels, int segment, int headroom) {
    const Screen screen = {triangle_id, depth, clip_positions, triangles, flags, edge, offsets, half_edges,
                           height, width, vertex_count, triangle_count, edge_count, reach};
    const VertexSums target = {magnitudes, sums, 4, headroom};
    const long long pieces = pieces_of(width, segment);
    FOR_EACH_INDEX(piece, (long long)batch * height * pieces) {
        const long long flat_row = piece / pieces, index = flat_row / height;
        const int row = (int)(flat_row - index * height), begin = (int)(piece - flat_row * pieces) * segment;
        const int end = begin + segment < width ? begin + segment : width;
        for (int step = 0; step < 2 * (end - begin); ++step) {
            const int column = begin + step / 2;
            const bool vertical = step & 1;
            const long long first = flat_row * width + column, second = first + (vertical ? width : 1);
            if (shares[2 * first + (vertical ? 1 : 0)] == 0.0f) continue;
            const Crossing crossing = find_crossing(screen, index, row, column, vertical, 1);
            if (!crossing.exists) continue;
            const long long near = crossing.near_is_first ? first : second;
            const long long other = crossing.near_is_first ? second : first;
            const long long changed = crossing.at < 0.5f ? near : other;
            float to_at = 0.0f;
            for (int c = 0; c < channels; ++c)
                to_at += grad[changed * channels + c] * (image[near * channels + c] - image[other * channels + c]);
            float to_a[4], to_b[4];
            crossing_vjp(crossing, to_at, vertical, to_a, to_b);
            note_or_add(target, index * vertex_count + crossing.a, to_a);
            note_or_add(target, index * vertex_count + crossing.b, to_b);
        }
    }
}
