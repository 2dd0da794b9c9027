// A photo to a UV texture: every texel's surface point is projected, tested against a depth map, weighted and coloured.
// Equation: uv_projection.py.
#include "bilinear.h"
#include "mesh.h"

__device__ float saturate(float value) { return minimum(maximum(value, 0.0f), 1.0f); }

// The four pixels around a point, clamped to the image.
__device__ Taps taps_at(float x, float y, int height, int width, int channels) {
    return taps(clamped_axis(x - 0.5f, width), clamped_axis(y - 0.5f, height), width, channels);
}

struct Weighting {
    float depth_bias, cosine_zero, cosine_one, border;
};

struct Layout {
    int vertex_count, triangle_count, texels, height, width, map_height, map_width;
};

__device__ float visible_weight(const float* point, float x, float y, const float* depth_map, const float* silhouettes,
                                Layout layout, Weighting weighting) {
    const float depth = point[2];
    const float from_border = minimum(minimum(x, (float)layout.width - x), minimum(y, (float)layout.height - y));
    float weight = saturate((point[3] - weighting.cosine_zero) / (weighting.cosine_one - weighting.cosine_zero)) *
                   saturate(from_border / weighting.border);
    if (!(weight > 0.0f)) return 0.0f;
    const Taps t = taps_at(x * ((float)layout.map_width / layout.width), y * ((float)layout.map_height / layout.height),
                           layout.map_height, layout.map_width, 1);
    // The farthest of the four: on a slanted surface the nearest would hide the surface from itself.
    const float surface = maximum(maximum(depth_map[t.at00], depth_map[t.at01]), maximum(depth_map[t.at10], depth_map[t.at11]));
    weight *= saturate(2.0f - (depth - surface) / weighting.depth_bias);
    return silhouettes && weight > 0.0f ? weight * blend(silhouettes, (const float*)nullptr, t) : weight;
}

// Homogeneous pixel, depth and cosine of a texel's surface point; false where the texel shows no surface.
__device__ bool surface_point(const int* triangle_id, const float* barycentric, const int* triangles,
                              const float* vertices, long long texel, Layout layout, float* point) {
    for (int c = 0; c < 4; ++c) point[c] = 0.0f;
    const int triangle = triangle_id[texel];
    const int* corners = corners_of(triangles, triangle, layout.triangle_count, layout.vertex_count);
    if (!corners) return false;
    const float b0 = barycentric[2 * texel], b1 = barycentric[2 * texel + 1], b2 = 1.0f - b0 - b1;
    const float *p0 = vertices + (long long)corners[0] * 4, *p1 = vertices + (long long)corners[1] * 4,
                *p2 = vertices + (long long)corners[2] * 4;
    for (int c = 0; c < 4; ++c) point[c] = b0 * p0[c] + b1 * p1[c] + b2 * p2[c];
    return true;
}

template <int kChannels, typename Pixel>
__device__ void project(const int* triangle_id, const float* barycentric, const int* triangles, const float* points,
                        const Pixel* image, const float* decoded, const float* depth_map, const float* silhouettes,
                        float* colour, float* weight, float* image_xy, int batch, Layout layout, Weighting weighting) {
    FOR_EACH_INDEX(i, (long long)batch * layout.texels) {
        const long long photo = i / layout.texels, texel = i - photo * layout.texels;
        float point[4];
        const bool known = surface_point(triangle_id, barycentric, triangles, points + photo * layout.vertex_count * 4,
                                         texel, layout, point);
        const bool in_front = known && point[2] > 1e-6f;
        const float inverse = in_front ? 1.0f / point[2] : 0.0f;
        const float x = point[0] * inverse, y = point[1] * inverse;
        float texel_weight = 0.0f;
        if (in_front && fabsf(x) < 1e6f && fabsf(y) < 1e6f)
            texel_weight = visible_weight(point, x, y, depth_map + photo * layout.map_height * layout.map_width,
                                          silhouettes ? silhouettes + photo * layout.map_height * layout.map_width : silhouettes,
                                          layout, weighting);
        weight[i] = texel_weight;
        float* out = colour + i * kChannels;
        if (texel_weight > 0.0f) {
            const Pixel* pixels = image + photo * layout.height * layout.width * kChannels;
            const Taps t = taps_at(x, y, layout.height, layout.width, kChannels);
            for (int c = 0; c < kChannels; ++c) out[c] = blend(pixels + c, decoded, t);
        } else {
            for (int c = 0; c < kChannels; ++c) out[c] = 0.0f;
        }
        if (image_xy) {
            image_xy[2 * i] = in_front ? x : not_a_number();
            image_xy[2 * i + 1] = in_front ? y : not_a_number();
        }
    }
}

template <typename Pixel>
__device__ void project_channels(const int* triangle_id, const float* barycentric, const int* triangles,
                                 const float* points, const Pixel* image, const float* decoded, const float* depth_map,
                                 const float* silhouettes, float* colour, float* weight, float* image_xy, int batch,
                                 int channels, Layout layout, Weighting weighting) {
    if (channels == 1)
        project<1>(triangle_id, barycentric, triangles, points, image, decoded, depth_map, silhouettes, colour, weight,
                   image_xy, batch, layout, weighting);
    else if (channels == 3)
        project<3>(triangle_id, barycentric, triangles, points, image, decoded, depth_map, silhouettes, colour, weight,
                   image_xy, batch, layout, weighting);
    else
        project<4>(triangle_id, barycentric, triangles, points, image, decoded, depth_map, silhouettes, colour, weight,
                   image_xy, batch, layout, weighting);
}

extern "C" __global__ void project_bytes(
    const int* __restrict__ triangle_id, const float* __restrict__ barycentric, const int* __restrict__ triangles,
    const float* __restrict__ points, const unsigned char* __restrict__ image, const float* __restrict__ decoded,
    const float* __restrict__ depth_map, const float* __restrict__ silhouettes, float* __restrict__ colour,
    float* __restrict__ weight, float* __restrict__ image_xy, int batch, int channels, int vertex_count,
    int triangle_count, int texels, int height, int width, int map_height, int map_width, float depth_bias,
    float cosine_zero, float cosine_one, float border) {
    project_channels(triangle_id, barycentric, triangles, points, image, decoded, depth_map, silhouettes, colour,
                     weight, image_xy, batch, channels,
                     Layout{vertex_count, triangle_count, texels, height, width, map_height, map_width},
                     Weighting{depth_bias, cosine_zero, cosine_one, border});
}

extern "C" __global__ void project_floats(
    const int* __restrict__ triangle_id, const float* __restrict__ barycentric, const int* __restrict__ triangles,
    const float* __restrict__ points, const float* __restrict__ image, const float* __restrict__ depth_map,
    const float* __restrict__ silhouettes, float* __restrict__ colour, float* __restrict__ weight,
    float* __restrict__ image_xy, int batch, int channels, int vertex_count, int triangle_count, int texels, int height,
    int width, int map_height, int map_width, float depth_bias, float cosine_zero, float cosine_one, float border) {
    project_channels(triangle_id, barycentric, triangles, points, image, (const float*)nullptr, depth_map, silhouettes,
                     colour, weight, image_xy, batch, channels,
                     Layout{vertex_count, triangle_count, texels, height, width, map_height, map_width},
                     Weighting{depth_bias, cosine_zero, cosine_one, border});
}
