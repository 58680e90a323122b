#include "scenarios.h"
const struct scenario zap_scenarios[] = { { .name = NULL } };
