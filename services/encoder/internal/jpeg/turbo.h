// Calls of turbojpeg with the plane pointers built on C's side: a Go array of Go pointers must not be passed to C.
#ifndef FRAMEBUS_TURBO_H
#define FRAMEBUS_TURBO_H

#include <turbojpeg.h>

// The accurate transform costs nothing measurable over the fast one where turbojpeg has SIMD for both.
#define FB_ENCODE (TJFLAG_NOREALLOC | TJFLAG_ACCURATEDCT)

// fb_encode_i420 returns the number of bytes written to dst, which holds tjBufSize bytes, or -1.
static long fb_encode_i420(tjhandle t, unsigned char *y, unsigned char *u, unsigned char *v, int w, int h,
                           int strideY, int strideC, int quality, unsigned char *dst, unsigned long cap) {
  const unsigned char *planes[3] = {y, u, v};
  int strides[3] = {strideY, strideC, strideC};
  unsigned long n = cap;
  if (tjCompressFromYUVPlanes(t, planes, w, strides, h, TJSAMP_420, &dst, &n, quality, FB_ENCODE) != 0)
    return -1;
  return (long)n;
}

// fb_encode_bgr is fb_encode_i420 for interleaved pixels.
static long fb_encode_bgr(tjhandle t, unsigned char *pix, int w, int h, int quality, unsigned char *dst,
                          unsigned long cap) {
  unsigned long n = cap;
  if (tjCompress2(t, pix, w, 0, h, TJPF_BGR, &dst, &n, TJSAMP_420, quality, FB_ENCODE) != 0)
    return -1;
  return (long)n;
}

// fb_planes_bgr converts interleaved pixels to planes without compressing them.
static int fb_planes_bgr(tjhandle t, unsigned char *pix, int w, int h, unsigned char *y, unsigned char *u,
                         unsigned char *v, int strideY, int strideC) {
  unsigned char *planes[3] = {y, u, v};
  int strides[3] = {strideY, strideC, strideC};
  return tjEncodeYUVPlanes(t, pix, w, 0, h, TJPF_BGR, planes, strides, TJSAMP_420, 0);
}

typedef struct {
  int failed, w, h, planar; // planar: 4:2:0 YCbCr, whose planes can be taken as they are
} fb_info;

// fb_header reads the size without decoding.
static fb_info fb_header(tjhandle t, unsigned char *jpeg, unsigned long n) {
  fb_info i = {0, 0, 0, 0};
  int subsamp = -1, space = -1;
  i.failed = tjDecompressHeader3(t, jpeg, n, &i.w, &i.h, &subsamp, &space);
  i.planar = subsamp == TJSAMP_420 && space == TJCS_YCbCr;
  return i;
}

#define FB_STRICT (TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS)

static int fb_decode_planes(tjhandle t, unsigned char *jpeg, unsigned long n, int w, int h, unsigned char *y,
                            unsigned char *u, unsigned char *v, int strideY, int strideC) {
  unsigned char *planes[3] = {y, u, v};
  int strides[3] = {strideY, strideC, strideC};
  return tjDecompressToYUVPlanes(t, jpeg, n, planes, w, strides, h, FB_STRICT);
}

static int fb_decode_bgr(tjhandle t, unsigned char *jpeg, unsigned long n, int w, int h, unsigned char *dst) {
  return tjDecompress2(t, jpeg, n, dst, w, 0, h, TJPF_BGR, FB_STRICT);
}

#endif
