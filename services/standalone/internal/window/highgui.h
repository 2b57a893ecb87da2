#ifndef FRAMEBUS_WINDOW_HIGHGUI_H
#define FRAMEBUS_WINDOW_HIGHGUI_H

#ifdef __cplusplus
extern "C" {
#endif

/* OpenCV's window, as far as it is needed. 0 or a key's code is success, -1 is failure, or no key. */
int framebus_window_open(const char *name, int width, int height);
int framebus_window_show(const char *name, void *bgr, int width, int height);
int framebus_window_size(const char *name, int *width, int *height);
int framebus_window_is_open(const char *name);
int framebus_window_wait(int ms);
int framebus_window_full_screen(const char *name, int on);
void framebus_window_close(const char *name);

#ifdef __cplusplus
}
#endif

#endif
