#include "scenarios.h"
const struct scenario cow_scenarios[] = { { .name = NULL } };
