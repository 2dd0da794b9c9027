// Triangles to pixels: one index per triangle writes depth|triangle with a 64-bit atomicMin (so the result does not
// depend on the order of threads), then one index per pixel turns the winner into perspective-correct barycentrics.
//
// Coverage is exact: vertices are snapped to 1/256 pixel, edge functions are integers, and a pixel centre on a shared
// edge belongs to exactly one triangle (top-left rule), as the Direct3D 11 functional specification, 3.4.2, asks.
#include "mesh.h"
#include "vertex_sums.h"

constexpr int kSubpixelBits = 8;
constexpr int kSubpixel = 1 << kSubpixelBits;
constexpr float kGuardPixels = 1048576.0f;  // beyond this a triangle is clipped, so 64-bit edge functions cannot overflow
constexpr int kMaximumPolygon = 9;          // a triangle cut by six planes

struct ClipVertex {
    float x, y, z, w;
};

struct Screen {
    int width, height;
    float guard_x, guard_y;
};

struct SnappedVertex {
    int x, y;
    float z;
};

// Bits that sort as unsigned integers in the order of the floats.
__device__ unsigned int ordered_bits(float value) {
    unsigned int bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ float from_ordered_bits(unsigned int bits) {
    return __uint_as_float(bits & 0x80000000u ? bits & 0x7fffffffu : ~bits);
}

__device__ bool is_finite(ClipVertex v) {
    // NaN fails every comparison.
    return fabsf(v.x) < 1e30f && fabsf(v.y) < 1e30f && fabsf(v.z) < 1e30f && fabsf(v.w) < 1e30f;
}

// Signed distance to the planes near, far, left, right, top, bottom; inside is >= 0.
__device__ float plane_distance(ClipVertex v, int plane, Screen screen) {
    switch (plane) {
        case 0: return v.w + v.z;
        case 1: return v.w - v.z;
        case 2: return screen.guard_x * v.w + v.x;
        case 3: return screen.guard_x * v.w - v.x;
        case 4: return screen.guard_y * v.w + v.y;
        default: return screen.guard_y * v.w - v.y;
    }
}

__device__ int outside_planes(ClipVertex v, Screen screen) {
    int outside = 0;
    for (int plane = 0; plane < 6; ++plane) outside |= (plane_distance(v, plane, screen) >= 0.0f ? 0 : 1) << plane;
    return outside;
}

// Sutherland-Hodgman. The cut is always computed from the inner to the outer vertex, so that the two triangles of a
// shared edge get the very same point.
__device__ int clip_polygon(ClipVertex* polygon, int size, int plane, Screen screen) {
    ClipVertex kept[kMaximumPolygon];
    int kept_size = 0;
    for (int i = 0; i < size; ++i) {
        ClipVertex a = polygon[i], b = polygon[i + 1 == size ? 0 : i + 1];
        float da = plane_distance(a, plane, screen), db = plane_distance(b, plane, screen);
        if (da >= 0.0f && kept_size < kMaximumPolygon) kept[kept_size++] = a;
        if ((da >= 0.0f) != (db >= 0.0f) && kept_size < kMaximumPolygon) {
            ClipVertex inner = da >= 0.0f ? a : b, outer = da >= 0.0f ? b : a;
            float d_inner = da >= 0.0f ? da : db, d_outer = da >= 0.0f ? db : da;
            float t = d_inner / (d_inner - d_outer);
            kept[kept_size++] = {inner.x + t * (outer.x - inner.x), inner.y + t * (outer.y - inner.y),
                                 inner.z + t * (outer.z - inner.z), inner.w + t * (outer.w - inner.w)};
        }
    }
    for (int i = 0; i < kept_size; ++i) polygon[i] = kept[i];
    return kept_size;
}

__device__ bool snap(ClipVertex v, Screen screen, SnappedVertex* snapped) {
    if (!(v.w > 1e-12f)) return false;  // the eye itself, left over where near and far planes meet
    float inverse_w = 1.0f / v.w;
    float x = (v.x * inverse_w + 1.0f) * 0.5f * screen.width, y = (v.y * inverse_w + 1.0f) * 0.5f * screen.height;
    if (!(fabsf(x) <= 2.0f * kGuardPixels && fabsf(y) <= 2.0f * kGuardPixels)) return false;
    *snapped = {(int)rintf(x * kSubpixel), (int)rintf(y * kSubpixel), v.z * inverse_w};
    return true;
}

// 0 for edges that own the pixel centres on them (top and left), -1 for the others.
__device__ int edge_bias(int dx, int dy) { return dy < 0 || (dy == 0 && dx > 0) ? 0 : -1; }

struct Edge {
    long long value;       // at the first pixel centre, biased by the top-left rule
    int per_column, per_row;  // in units of whole pixels
};

__device__ Edge make_edge(SnappedVertex a, SnappedVertex b, int centre_x, int centre_y) {
    int dx = b.x - a.x, dy = b.y - a.y;
    return {(long long)dx * (centre_y - a.y) - (long long)dy * (centre_x - a.x) + edge_bias(dx, dy),
            -dy, dx};
}

struct DepthPlane {
    float origin, per_column, per_row, nearest, farthest;  // origin: at the first pixel centre
};

__device__ DepthPlane make_depth_plane(SnappedVertex a, SnappedVertex b, SnappedVertex c, long long twice_area,
                                       int centre_x, int centre_y) {
    float scale = 1.0f / (float)twice_area;
    float bx = (float)(b.x - a.x), by = (float)(b.y - a.y), cx = (float)(c.x - a.x), cy = (float)(c.y - a.y);
    float bz = b.z - a.z, cz = c.z - a.z;
    float per_x = (bz * cy - cz * by) * scale, per_y = (cz * bx - bz * cx) * scale;
    return {a.z + per_x * (float)(centre_x - a.x) + per_y * (float)(centre_y - a.y), per_x * kSubpixel,
            per_y * kSubpixel, minimum(a.z, minimum(b.z, c.z)), maximum(a.z, maximum(b.z, c.z))};
}

// Integer is int where the whole bounding box fits 32-bit edge functions (nearly always), else long long. Keys must go
// on for kVectorLanes elements after the last.
template <typename Integer, bool kAlone>
HOT_DEVICE void fill(const Edge* edges, DepthPlane depth, int columns, int rows, int width, unsigned int triangle,
                     unsigned long long* keys) {
    Integer row0 = (Integer)edges[0].value, row1 = (Integer)edges[1].value, row2 = (Integer)edges[2].value;
    const Integer column0 = (Integer)edges[0].per_column * kSubpixel, column1 = (Integer)edges[1].per_column * kSubpixel,
                  column2 = (Integer)edges[2].per_column * kSubpixel;
    const Integer next0 = (Integer)edges[0].per_row * kSubpixel, next1 = (Integer)edges[1].per_row * kSubpixel,
                  next2 = (Integer)edges[2].per_row * kSubpixel;
    for (int y = 0; y < rows; ++y) {
        const float row_depth = depth.origin + depth.per_row * (float)y;
        unsigned long long* row = keys + (long long)y * width;
        for (int first = 0; first < columns; first += kVectorLanes) {
            INDEPENDENT_ITERATIONS
            for (int lane = 0; lane < kVectorLanes; ++lane) {
                const int x = first + lane;
                const Integer edges_or = (row0 + x * column0) | (row1 + x * column1) | (row2 + x * column2);
                // A sliver's plane is steep: rounding must not carry it outside its own corners.
                const float z = minimum(maximum(row_depth + depth.per_column * (float)x, depth.nearest), depth.farthest);
                atomic_min_where<kAlone>(edges_or >= 0 && x < columns, &row[x],
                                         (unsigned long long)ordered_bits(z) << 32 | triangle);
            }
        }
        row0 += next0;
        row1 += next1;
        row2 += next2;
    }
}

__device__ void draw(SnappedVertex a, SnappedVertex b, SnappedVertex c, Screen screen, int cull_back_faces,
                     unsigned int triangle, unsigned long long* keys) {
    long long twice_area =
        (long long)(b.x - a.x) * (c.y - a.y) - (long long)(b.y - a.y) * (c.x - a.x);  // < 0: counter-clockwise
    if (twice_area == 0 || (cull_back_faces && twice_area > 0)) return;
    if (twice_area < 0) {
        SnappedVertex swapped = b;
        b = c;
        c = swapped;
        twice_area = -twice_area;
    }
    const int half = kSubpixel / 2;
    int low_x = a.x < b.x ? (a.x < c.x ? a.x : c.x) : (b.x < c.x ? b.x : c.x);
    int high_x = a.x > b.x ? (a.x > c.x ? a.x : c.x) : (b.x > c.x ? b.x : c.x);
    int low_y = a.y < b.y ? (a.y < c.y ? a.y : c.y) : (b.y < c.y ? b.y : c.y);
    int high_y = a.y > b.y ? (a.y > c.y ? a.y : c.y) : (b.y > c.y ? b.y : c.y);
    int extent = high_x - low_x > high_y - low_y ? high_x - low_x : high_y - low_y;
    int first_x = (low_x - half + kSubpixel - 1) >> kSubpixelBits, last_x = (high_x - half) >> kSubpixelBits;
    int first_y = (low_y - half + kSubpixel - 1) >> kSubpixelBits, last_y = (high_y - half) >> kSubpixelBits;
    if (first_x < 0) first_x = 0;
    if (first_y < 0) first_y = 0;
    if (last_x >= screen.width) last_x = screen.width - 1;
    if (last_y >= screen.height) last_y = screen.height - 1;
    if (first_x > last_x || first_y > last_y) return;
    int centre_x = first_x * kSubpixel + half, centre_y = first_y * kSubpixel + half;
    Edge edges[3] = {make_edge(a, b, centre_x, centre_y), make_edge(b, c, centre_x, centre_y),
                     make_edge(c, a, centre_x, centre_y)};
    DepthPlane depth = make_depth_plane(a, b, c, twice_area, centre_x, centre_y);
    unsigned long long* corner = keys + (long long)first_y * screen.width + first_x;
    int columns = last_x - first_x + 1, rows = last_y - first_y + 1;
    const bool small = extent < 60 * kSubpixel;  // |edge| < 2 (70 * 256)^2 < 2^30, also some lanes past the box
    if (runs_alone() && small)
        fill<int, true>(edges, depth, columns, rows, screen.width, triangle, corner);
    else if (runs_alone())
        fill<long long, true>(edges, depth, columns, rows, screen.width, triangle, corner);
    else if (small)
        fill<int, false>(edges, depth, columns, rows, screen.width, triangle, corner);
    else
        fill<long long, false>(edges, depth, columns, rows, screen.width, triangle, corner);
}

__device__ ClipVertex load_vertex(const float* positions, long long vertex) {
    const float* p = positions + vertex * 4;
    return {p[0], p[1], p[2], p[3]};
}

extern "C" __global__ void clear_keys(unsigned long long* keys, long long count) {
    FOR_EACH_INDEX(i, count) keys[i] = ~0ull;
}

extern "C" __global__ void rasterize_triangles(const float* __restrict__ clip_positions,
                                               const int* __restrict__ triangles, unsigned long long* keys, int batch,
                                               int vertex_count, int triangle_count, int height, int width,
                                               int cull_back_faces) {
    const float side = (float)(width > height ? width : height);
    const Screen screen = {width, height, kGuardPixels / side, kGuardPixels / side};
    FOR_EACH_INDEX(i, (long long)batch * triangle_count) {
        long long image = i / triangle_count;
        int triangle = (int)(i - image * triangle_count);
        const int* corners = corners_of(triangles, triangle, triangle_count, vertex_count);
        if (!corners) continue;
        ClipVertex polygon[kMaximumPolygon];
        for (int k = 0; k < 3; ++k) polygon[k] = load_vertex(clip_positions, image * vertex_count + corners[k]);
        if (!is_finite(polygon[0]) || !is_finite(polygon[1]) || !is_finite(polygon[2])) continue;
        int outside0 = outside_planes(polygon[0], screen), outside1 = outside_planes(polygon[1], screen),
            outside2 = outside_planes(polygon[2], screen);
        if (outside0 & outside1 & outside2) continue;
        int size = 3;
        int crossed = outside0 | outside1 | outside2;
        for (int plane = 0; plane < 6 && crossed; ++plane)
            if (crossed >> plane & 1) size = clip_polygon(polygon, size, plane, screen);
        if (size < 3) continue;
        unsigned long long* image_keys = keys + image * height * width;
        SnappedVertex first, previous, current;
        if (!snap(polygon[0], screen, &first) || !snap(polygon[1], screen, &previous)) continue;
        for (int k = 2; k < size && snap(polygon[k], screen, &current); ++k) {
            draw(first, previous, current, screen, cull_back_faces, (unsigned int)triangle, image_keys);
            previous = current;
        }
    }
}

__device__ unsigned long long pack(float low, float high) {
    return (unsigned long long)__float_as_uint(high) << 32 | __float_as_uint(low);
}

// Perspective-correct barycentrics straight from clip coordinates (Olano and Greer 1997, "Triangle scan conversion
// using 2D homogeneous coordinates"): right for triangles that cross the near plane, too. The two barycentrics of a
// pixel take the place of its key: memory that is new to a process costs more than the arithmetic.
extern "C" __global__ void resolve_pixels(const float* __restrict__ clip_positions, const int* __restrict__ triangles,
                                          unsigned long long* keys_to_barycentrics, int* __restrict__ triangle_id,
                                          float* __restrict__ depth, int batch, int vertex_count, int height,
                                          int width) {
    const float to_ndc_x = 2.0f / width, to_ndc_y = 2.0f / height;
    FOR_EACH_PIXEL(row, column, (long long)batch * height, width) {
        const long long image = row / height, i = row * width + column;
        const float ndc_x = ((float)column + 0.5f) * to_ndc_x - 1.0f;
        const float ndc_y = ((float)(row - image * height) + 0.5f) * to_ndc_y - 1.0f;
        const float* positions = clip_positions + image * vertex_count * 4;
        const unsigned long long key = keys_to_barycentrics[i];
        if (key == ~0ull) {
            triangle_id[i] = -1;
            keys_to_barycentrics[i] = 0;
            depth[i] = 1.0f;
            continue;
        }
        const int triangle = (int)(key & 0xffffffffu);
        const int* corners = triangles + (long long)triangle * 3;
        const float* p0 = positions + (long long)corners[0] * 4;
        const float* p1 = positions + (long long)corners[1] * 4;
        const float* p2 = positions + (long long)corners[2] * 4;
        const float x0 = fmaf(-ndc_x, p0[3], p0[0]), y0 = fmaf(-ndc_y, p0[3], p0[1]);
        const float x1 = fmaf(-ndc_x, p1[3], p1[0]), y1 = fmaf(-ndc_y, p1[3], p1[1]);
        const float x2 = fmaf(-ndc_x, p2[3], p2[0]), y2 = fmaf(-ndc_y, p2[3], p2[1]);
        float a0 = x1 * y2 - y1 * x2, a1 = x2 * y0 - y2 * x0, a2 = x0 * y1 - y0 * x1;
        const float sign = a0 + a1 + a2 < 0.0f ? -1.0f : 1.0f;
        // Snapping may put a centre a hair outside the triangle: nothing may extrapolate.
        a0 = maximum(a0 * sign, 0.0f);
        a1 = maximum(a1 * sign, 0.0f);
        a2 = maximum(a2 * sign, 0.0f);
        const float sum = a0 + a1 + a2;
        const float scale = 1.0f / sum;
        triangle_id[i] = triangle;
        keys_to_barycentrics[i] = sum > 0.0f ? pack(a0 * scale, a1 * scale) : pack(1.0f / 3.0f, 1.0f / 3.0f);
        depth[i] = from_ordered_bits((unsigned int)(key >> 32));
    }
}

// Camera depth from the depth of a perspective projection with these near and far planes; +infinity where empty.
extern "C" __global__ void resolve_depth_map(const unsigned long long* __restrict__ keys,
                                             float* __restrict__ depth_map, long long count, float near_plane,
                                             float far_plane) {
    FOR_EACH_INDEX(i, count) {
        const float ndc = from_ordered_bits((unsigned int)(keys[i] >> 32));
        const float depth = 2.0f * far_plane * near_plane / (far_plane + near_plane - ndc * (far_plane - near_plane));
        depth_map[i] = keys[i] == ~0ull ? __uint_as_float(0x7f800000u) : depth;
    }
}

// What one run of pixels in a row says about its triangle's corners: gradients of clip x, y, z, w.
//
// Forward, at a pixel centre (X, Y) in NDC: x_k' = x_k - X w_k, y_k' = y_k - Y w_k, a_0 = x_1' y_2' - y_1' x_2' and so on
// around, b_k = a_k / (a_0 + a_1 + a_2), depth = sum(b_k z_k) / sum(b_k w_k). Back: with g_k the gradient of b_k,
// dL/da_k = (g_k - sum(g_j b_j)) / sum(a). All else is linear in dL/da_k and in X, so sums over the run of dL/da_k and of
// (X - X of the first pixel) dL/da_k are enough.
template <bool kDepth>
__device__ void clip_vjp(const ClipVertex* p, const float* grad_barycentric, const float* grad_depth, float first_x,
                         float ndc_y, float step_x, int length, float out[3][4]) {
    float y[3], x_first[3];
    for (int k = 0; k < 3; ++k) {
        y[k] = fmaf(-ndc_y, p[k].w, p[k].y);
        x_first[k] = fmaf(-first_x, p[k].w, p[k].x);
    }
    float sum[3] = {}, moment[3] = {}, to_z[3] = {}, to_w[3] = {};
    for (int i = 0; i < length; ++i) {
        const float offset = step_x * (float)i, ndc_x = first_x + offset;
        const float x0 = fmaf(-ndc_x, p[0].w, p[0].x), x1 = fmaf(-ndc_x, p[1].w, p[1].x),
                    x2 = fmaf(-ndc_x, p[2].w, p[2].x);
        const float a0 = x1 * y[2] - y[1] * x2, a1 = x2 * y[0] - y[2] * x0, a2 = x0 * y[1] - y[0] * x1;
        const float area = a0 + a1 + a2;
        if (area == 0.0f) continue;  // the forward pass gave thirds there, whatever the corners
        const float scale = 1.0f / area, b0 = a0 * scale, b1 = a1 * scale, b2 = a2 * scale;
        float g0 = grad_barycentric[2 * i], g1 = grad_barycentric[2 * i + 1], g2 = 0.0f;
        if (kDepth) {
            const float inverse_w = 1.0f / (b0 * p[0].w + b1 * p[1].w + b2 * p[2].w);
            const float depth = (b0 * p[0].z + b1 * p[1].z + b2 * p[2].z) * inverse_w;
            const float q = grad_depth[i] * inverse_w, r = -q * depth;
            g0 += q * p[0].z + r * p[0].w;
            g1 += q * p[1].z + r * p[1].w;
            g2 += q * p[2].z + r * p[2].w;
            to_z[0] += q * b0;
            to_z[1] += q * b1;
            to_z[2] += q * b2;
            to_w[0] += r * b0;
            to_w[1] += r * b1;
            to_w[2] += r * b2;
        }
        const float mean = g0 * b0 + g1 * b1 + g2 * b2;
        const float to0 = (g0 - mean) * scale, to1 = (g1 - mean) * scale, to2 = (g2 - mean) * scale;
        sum[0] += to0;
        sum[1] += to1;
        sum[2] += to2;
        moment[0] += offset * to0;
        moment[1] += offset * to1;
        moment[2] += offset * to2;
    }
    for (int k = 0; k < 3; ++k) {
        const int m = k == 2 ? 0 : k + 1, n = k == 0 ? 2 : k - 1;  // corner k is in a_m (with n) and in a_n (with m)
        const float to_x = y[m] * sum[n] - y[n] * sum[m];
        const float to_x_moment = y[m] * moment[n] - y[n] * moment[m];
        const float to_y = x_first[n] * sum[m] - p[n].w * moment[m] - x_first[m] * sum[n] + p[m].w * moment[n];
        out[k][0] = to_x;
        out[k][1] = to_y;
        out[k][2] = to_z[k];
        out[k][3] = to_w[k] - first_x * to_x - to_x_moment - ndc_y * to_y;
    }
}

// Launched twice: where sums is null, to note the magnitudes of the terms; then to add them.
extern "C" __global__ void rasterize_vjp_pixels(const float* __restrict__ clip_positions,
                                                const int* __restrict__ triangles,
                                                const int* __restrict__ triangle_id,
                                                const float* __restrict__ grad_barycentric,
                                                const float* __restrict__ grad_depth, int* magnitudes,
                                                unsigned long long* sums, long long rows, int height, int width,
                                                int segment, int vertex_count, int triangle_count, int headroom) {
    const float to_ndc_x = 2.0f / width, to_ndc_y = 2.0f / height;
    const VertexSums target = {magnitudes, sums, 4, headroom};
    for_each_run(triangle_id, rows, width, segment, [&](int triangle, long long row, int first, int length) {
        const int* corners = corners_of(triangles, triangle, triangle_count, vertex_count);
        if (!corners) return;
        const long long image = row / height, pixel = row * width + first;
        ClipVertex p[3];
        for (int k = 0; k < 3; ++k) p[k] = load_vertex(clip_positions, image * vertex_count + corners[k]);
        const float first_x = ((float)first + 0.5f) * to_ndc_x - 1.0f;
        const float ndc_y = ((float)(row - image * height) + 0.5f) * to_ndc_y - 1.0f;
        float terms[3][4];
        if (grad_depth)
            clip_vjp<true>(p, grad_barycentric + 2 * pixel, grad_depth + pixel, first_x, ndc_y, to_ndc_x, length,
                           terms);
        else
            clip_vjp<false>(p, grad_barycentric + 2 * pixel, grad_depth, first_x, ndc_y, to_ndc_x, length, terms);
        for (int k = 0; k < 3; ++k) {
            const long long vertex = image * vertex_count + corners[k];
            if (sums) {
                add_to_vertex(target, vertex, 0, terms[k], 4);
                continue;
            }
            int largest = 0;
            for (int c = 0; c < 4; ++c) {
                const int bits = magnitude_bits(terms[k][c]);
                largest = bits > largest ? bits : largest;
            }
            atomic_maximum(&magnitudes[vertex], largest);
        }
    });
}
