#ifndef FRAMEBUS_SOURCE_QUIET_H
#define FRAMEBUS_SOURCE_QUIET_H

#ifdef __cplusplus
extern "C" {
#endif

/* Turns OpenCV's log off and keeps its exceptions, which still reach their callers, from being printed. */
void framebus_quiet(void);

#ifdef __cplusplus
}
#endif

#endif
