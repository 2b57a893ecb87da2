#include "highgui.h"

#include <opencv2/core.hpp>
#include <opencv2/highgui.hpp>

static int say_nothing(int, const char *, const char *, const char *, int, void *) { return 0; }

template <typename F>
static int attempt(F f) {
    try {
        return f();
    } catch (const std::exception &) {
        return -1;
    }
}

int framebus_window_open(const char *name, int width, int height) {
    cv::redirectError(say_nothing); // errors are returned, and need not be printed too
    return attempt([=] {
        cv::namedWindow(name, cv::WINDOW_NORMAL | cv::WINDOW_FREERATIO | cv::WINDOW_GUI_NORMAL);
        cv::resizeWindow(name, width, height);
        return 0;
    });
}

int framebus_window_show(const char *name, void *bgr, int width, int height) {
    return attempt([=] {
        cv::imshow(name, cv::Mat(height, width, CV_8UC3, bgr));
        return 0;
    });
}

int framebus_window_size(const char *name, int *width, int *height) {
    return attempt([=] {
        cv::Rect r = cv::getWindowImageRect(name);
        *width = r.width;
        *height = r.height;
        return 0;
    });
}

int framebus_window_is_open(const char *name) {
    return attempt([=] {
        // Qt keeps a closed window and tells that it is hidden; GTK tells nothing of that, and of a window that is gone
        // nothing at all.
        double visible = cv::getWindowProperty(name, cv::WND_PROP_VISIBLE);
        if (visible >= 0) return visible >= 1 ? 0 : -1;
        return cv::getWindowProperty(name, cv::WND_PROP_AUTOSIZE) >= 0 ? 0 : -1;
    });
}

int framebus_window_wait(int ms) {
    return attempt([=] { return cv::waitKey(ms); });
}

int framebus_window_full_screen(const char *name, int on) {
    return attempt([=] {
        cv::setWindowProperty(name, cv::WND_PROP_FULLSCREEN, on ? cv::WINDOW_FULLSCREEN : cv::WINDOW_NORMAL);
        return 0;
    });
}

void framebus_window_close(const char *name) {
    attempt([=] {
        cv::destroyWindow(name);
        return 0;
    });
}
