/* NVML as far as it is asked, for machines without a GPU. What it does is chosen when it is compiled:
   CARDS (2), REFUSE_MEMORY, HANG (ms), NO_DETAILS (functions that an old driver lacks), FAIL_INIT (a code). */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef CARDS
#define CARDS 2
#endif

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char name[32]; } pci_info;
typedef struct { unsigned long long total, free, used; } memory_info;
typedef struct { unsigned gpu, memory; } utilization_info;

static int numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}; /* handles: cards, then from 8 on parts */
static int opened = 0;

int fake_nvml_opened(void) { return opened; }

int nvmlInit_v2(void) {
#ifdef HANG
    usleep(HANG * 1000); /* milliseconds */
#endif
#ifdef FAIL_INIT
    return FAIL_INIT;
#endif
    opened++;
    return 0;
}
int nvmlShutdown(void) { opened--; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = CARDS; return opened > 0 ? 0 : 1; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "550.54.15"); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = &numbers[index]; return 0; }
int nvmlDeviceGetName(void *device, char *text, unsigned size) {
    snprintf(text, size, *(int *)device ? "NVIDIA T4" : "NVIDIA H100 80GB HBM3");
    return 0;
}
int nvmlDeviceGetPersistenceMode(void *device, unsigned *mode) { *mode = 1; return 0; }
int nvmlDeviceGetUUID(void *device, char *text, unsigned size) {
    snprintf(text, size, "%s-%d", *(int *)device < 8 ? "GPU" : "MIG", *(int *)device);
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, memory_info *memory) {
    int number = *(int *)device;
#ifdef REFUSE_MEMORY
    if (number < 8) return REFUSE_MEMORY;
#endif
    memory->total = (number < 8 ? 80 : 10) * 1073741824ull;
    memory->used = (number + 1) * 1048576ull;
    memory->free = memory->total - memory->used;
    return 0;
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **part) {
    if (index > 1) return 6;
    *part = &numbers[8 + index];
    return 0;
}
int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) { *count = 7; return 0; }
int nvmlDeviceGetUtilizationRates(void *device, utilization_info *found) {
    if (*(int *)device == 0) return 3; /* a divided card does not tell */
    found->gpu = 42;
    found->memory = 7;
    return 0;
}
#ifndef NO_DETAILS
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12040; return 0; }
int nvmlDeviceGetComputeMode(void *device, unsigned *mode) { *mode = *(int *)device ? 3 : 0; return 0; }
int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    if (*(int *)device == 1) return 3; /* not supported */
    *current = *pending = 1;
    return 0;
}
int nvmlDeviceGetPciInfo_v3(void *device, pci_info *info) {
    memset(info, 0xff, sizeof *info);
    snprintf(info->name, 32, "00000000:%02X:00.0", 0x17 + *(int *)device);
    return 0;
}
#endif
