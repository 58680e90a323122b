#include "scenarios.h"
const struct scenario collect_scenarios[] = { { .name = NULL } };
