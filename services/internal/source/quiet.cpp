#include "quiet.h"

#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>

static int say_nothing(int, const char*, const char*, const char*, int, void*) { return 0; }

void framebus_quiet(void) {
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    cv::redirectError(say_nothing);
}
