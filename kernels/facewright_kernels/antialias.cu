// Antialiasing of silhouettes after rasterisation, so that images change smoothly with the mesh's outline: Laine et al.
// 2020, "Modular primitives for high-performance differentiable rendering", 3.5.
//
// Two neighbouring pixels that see different triangles, and a silhouette edge of the nearer one between their centres:
// where the edge lies nearer to the near pixel's centre than to the midpoint, that pixel gets some of the other's
// colour, else the other gets some of the near one's. Edges that are steep on screen act on horizontal pairs, flat ones
// on vertical pairs. Every pixel gathers from its four neighbours, so that sums have a fixed order.
#include "vertex_sums.h"

constexpr int kVerticalPairs = 3;   // flags of a triangle: bits 0-2 its edges for horizontal pairs, 3-5 for vertical ones,
constexpr int kPositive = 1 << 6;   // and whether its corners' determinant is positive
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

// An edge is a silhouette unless another triangle continues the surface on its other side.
extern "C" __global__ void silhouette_edges(const float* __restrict__ clip_positions, const int* __restrict__ triangles,
                                            const int* __restrict__ edge, const int* __restrict__ offsets,
                                            const int* __restrict__ opposite, unsigned char* __restrict__ flags,
                                            int batch, int vertex_count, int triangle_count, int height, int width) {
    FOR_EACH_INDEX(i, (long long)batch * triangle_count) {
        const long long image = i / triangle_count, triangle = i - image * triangle_count;
        const float* positions = clip_positions + image * vertex_count * 4;
        const int* corners = triangles + triangle * 3;
        flags[i] = 0;
        if ((unsigned)corners[0] >= (unsigned)vertex_count || (unsigned)corners[1] >= (unsigned)vertex_count ||
            (unsigned)corners[2] >= (unsigned)vertex_count)
            continue;
        Corner p[3];
        for (int k = 0; k < 3; ++k) p[k] = load_corner(positions, corners[k]);
        const double own = determinant(p[0], p[1], p[2]);
        int found = own > 0.0 ? kPositive : 0;
        for (int k = 0; k < 3 && own != 0.0; ++k) {
            const Corner a = p[k], b = p[k == 2 ? 0 : k + 1];
            const int apex = corners[k == 0 ? 2 : k - 1], e = edge[triangle * 3 + k];
            bool continues = false;
            for (int j = offsets[e]; j < offsets[e + 1]; ++j) {
                if (opposite[j] == apex || (unsigned)opposite[j] >= (unsigned)vertex_count) continue;
                const double other = determinant(a, b, load_corner(positions, opposite[j]));
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
    int height, width, vertex_count, triangle_count;
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
    const int near = found.near_is_first ? first_id : second_id;
    const int flags = screen.flags[image * screen.triangle_count + near];
    const int edges = flags >> (vertical ? kVerticalPairs : 0) & 7;
    if (edges == 0) return found;
    if (!found.near_is_first) {
        (vertical ? row : column) += direction;
        direction = -direction;
    }
    const float x = ((float)column + 0.5f) * 2.0f / (float)screen.width - 1.0f;
    const float y = ((float)row + 0.5f) * 2.0f / (float)screen.height - 1.0f;
    found.centre_u = vertical ? y : x;
    found.centre_v = vertical ? x : y;
    found.scale = 0.5f * (float)(direction * (vertical ? screen.height : screen.width));
    const int* corners = screen.triangles + (long long)near * 3;
    for (int k = 0; k < 3; ++k) {
        if (!(edges >> k & 1)) continue;
        found.a = corners[k];
        found.b = corners[k == 2 ? 0 : k + 1];
        const Corner a = load_corner(screen.clip_positions, image * screen.vertex_count + found.a);
        const Corner b = load_corner(screen.clip_positions, image * screen.vertex_count + found.b);
        found.wa = a.w;
        found.wb = b.w;
        found.ua = fmaf(-found.centre_u, a.w, vertical ? a.y : a.x);
        found.va = fmaf(-found.centre_v, a.w, vertical ? a.x : a.y);
        found.ub = fmaf(-found.centre_u, b.w, vertical ? b.y : b.x);
        found.vb = fmaf(-found.centre_v, b.w, vertical ? b.x : b.y);
        // Whether the edge reaches the pair's line; ends on it count as the top-left rule does.
        if ((found.va <= 0.0f) == (found.vb <= 0.0f)) continue;
        found.numerator = found.ua * found.vb - found.ub * found.va;
        found.denominator = found.wa * found.vb - found.wb * found.va;
        // The crossing's w is denominator / (vb - va): not behind the eye. And the triangle must end there, not begin.
        if (!(found.denominator * (found.vb - found.va) > 0.0f)) continue;
        if ((found.denominator * found.scale > 0.0f) != (((flags & kPositive) != 0) != vertical)) continue;
        found.at = found.scale * found.numerator / found.denominator;
        if (!(found.at >= -kTolerance && found.at <= 1.0f + kTolerance)) continue;
        found.exists = true;
        return found;
    }
    return found;
}

__device__ float clamped(float at) { return minimum(maximum(at, 0.0f), 1.0f); }

// How much of the other's colour the near pixel gets, and how much of the near one's the other gets; one of them is 0.
__device__ float near_share(const Crossing& crossing) { return maximum(0.5f - clamped(crossing.at), 0.0f); }
__device__ float other_share(const Crossing& crossing) { return maximum(clamped(crossing.at) - 0.5f, 0.0f); }

__device__ bool is_inside(int row, int column, int height, int width) {
    return (unsigned)row < (unsigned)height && (unsigned)column < (unsigned)width;
}

// One launch index is a pixel. Transposed: the gradient of the image, else the image.
template <bool kTransposed>
__device__ void blend_pixel(Screen screen, long long image, int row, int column, const float* values, int channels,
                            float* out) {
    const long long pixel = (image * screen.height + row) * screen.width + column;
    const float* own = values + pixel * channels;
    out += pixel * channels;
    for (int c = 0; c < channels; ++c) out[c] = own[c];
    for (int side = 0; side < 4; ++side) {
        const bool vertical = side >= 2;
        const int direction = side & 1 ? 1 : -1;
        if (!is_inside(row + (vertical ? direction : 0), column + (vertical ? 0 : direction), screen.height,
                       screen.width))
            continue;
        const long long neighbour = pixel + (vertical ? direction * screen.width : direction);
        if (screen.triangle_id[neighbour] == screen.triangle_id[pixel]) continue;
        const Crossing crossing = find_crossing(screen, image, row, column, vertical, direction);
        if (!crossing.exists) continue;
        const float taken = crossing.near_is_first ? near_share(crossing) : other_share(crossing);
        const float given = crossing.near_is_first ? other_share(crossing) : near_share(crossing);
        const float* other = values + neighbour * channels;
        for (int c = 0; c < channels; ++c) {
            if (taken > 0.0f) out[c] += taken * (kTransposed ? -own[c] : other[c] - own[c]);
            if (kTransposed && given > 0.0f) out[c] += given * other[c];
        }
    }
}

extern "C" __global__ void antialias_pixels(const float* __restrict__ image, const int* __restrict__ triangle_id,
                                            const float* __restrict__ depth, const float* __restrict__ clip_positions,
                                            const int* __restrict__ triangles, const unsigned char* __restrict__ flags,
                                            float* __restrict__ out, int batch, int height, int width,
                                            int vertex_count, int triangle_count, int channels) {
    const Screen screen = {triangle_id, depth, clip_positions, triangles, flags, height, width, vertex_count,
                           triangle_count};
    FOR_EACH_PIXEL(row, column, (long long)batch * height, width)
        blend_pixel<false>(screen, row / height, (int)(row % height), (int)column, image, channels, out);
}

extern "C" __global__ void antialias_vjp_image(const float* __restrict__ grad, const int* __restrict__ triangle_id,
                                               const float* __restrict__ depth,
                                               const float* __restrict__ clip_positions,
                                               const int* __restrict__ triangles,
                                               const unsigned char* __restrict__ flags, float* __restrict__ out,
                                               int batch, int height, int width, int vertex_count, int triangle_count,
                                               int channels) {
    const Screen screen = {triangle_id, depth, clip_positions, triangles, flags, height, width, vertex_count,
                           triangle_count};
    FOR_EACH_PIXEL(row, column, (long long)batch * height, width)
        blend_pixel<true>(screen, row / height, (int)(row % height), (int)column, grad, channels, out);
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
                                              const float* __restrict__ grad, int* magnitudes,
                                              unsigned long long* sums, int batch, int height, int width,
                                              int vertex_count, int triangle_count, int channels, int segment,
                                              int headroom) {
    const Screen screen = {triangle_id, depth, clip_positions, triangles, flags, height, width, vertex_count,
                           triangle_count};
    const VertexSums target = {magnitudes, sums, 4, headroom};
    const long long pieces = pieces_of(width, segment);
    FOR_EACH_INDEX(piece, (long long)batch * height * pieces) {
        const long long flat_row = piece / pieces, index = flat_row / height;
        const int row = (int)(flat_row - index * height), begin = (int)(piece - flat_row * pieces) * segment;
        const int end = begin + segment < width ? begin + segment : width;
        for (int step = 0; step < 2 * (end - begin); ++step) {
            const int column = begin + step / 2;
            const bool vertical = step & 1;
            if (!is_inside(row + (vertical ? 1 : 0), column + (vertical ? 0 : 1), height, width)) continue;
            const long long first = flat_row * width + column, second = first + (vertical ? width : 1);
            if (triangle_id[first] == triangle_id[second]) continue;
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
