/**
 * C prototypes in the words of libvirt's own headers, in two tables: calls that may talk to the daemon, and so are only
 * ever made asynchronously, and calls that only touch memory. A blocking call on the JavaScript thread would deadlock
 * with a callback that libvirt makes from another thread, so the first table has no synchronous form.
 *
 * A result that the caller must free is a HeapString; `str` is memory that libvirt keeps.
 */

/** Types that the prototypes below name, declared before them and in this order. */
export const OPAQUE = ["virConnect", "virDomain", "virNetwork", "virStream"] as const;

export const ERROR_STRUCT = {
  code: "int", domain: "int", message: "str", level: "int", connection: "void *", domainHandle: "void *",
  text1: "str", text2: "str", text3: "str", number1: "int", number2: "int", network: "void *",
} as const;

export const CALLBACKS = {
  timer: "void TimerCallback(int timer, intptr_t opaque)",
  closed: "void CloseCallback(virConnect *connection, int reason, intptr_t opaque)",
  lifecycle: "int LifecycleCallback(virConnect *connection, virDomain *domain, int event, int detail, intptr_t opaque)",
  agentLifecycle: "void AgentCallback(virConnect *connection, virDomain *domain, int state, int reason, intptr_t opaque)",
  iteration: "void IterationCallback(virConnect *connection, virDomain *domain, int iteration, intptr_t opaque)",
  streamReady: "void StreamCallback(virStream *stream, int events, intptr_t opaque)",
  jobCompleted: "void JobCallback(virConnect *connection, virDomain *domain, void *params, int count, intptr_t opaque)",
} as const;

export const REMOTE = {
  virEventRunDefaultImpl: "int virEventRunDefaultImpl(void)",
  virConnectOpen: "virConnect *virConnectOpen(const char *uri)",
  virConnectClose: "int virConnectClose(virConnect *connection)",
  virConnectSetKeepAlive: "int virConnectSetKeepAlive(virConnect *connection, int intervalSeconds, uint count)",
  virConnectRegisterCloseCallback:
    "int virConnectRegisterCloseCallback(virConnect *connection, void *callback, intptr_t opaque, void *free)",
  virConnectUnregisterCloseCallback: "int virConnectUnregisterCloseCallback(virConnect *connection, void *callback)",
  virConnectDomainEventRegisterAny:
    "int virConnectDomainEventRegisterAny(virConnect *connection, virDomain *domain, int event, void *callback, intptr_t opaque, void *free)",
  virConnectDomainEventDeregisterAny: "int virConnectDomainEventDeregisterAny(virConnect *connection, int callback)",
  virConnectGetHostname: "HeapString virConnectGetHostname(virConnect *connection)",
  virConnectGetLibVersion: "int virConnectGetLibVersion(virConnect *connection, _Out_ ulong *version)",
  virConnectGetVersion: "int virConnectGetVersion(virConnect *connection, _Out_ ulong *version)",
  virConnectGetCapabilities: "HeapString virConnectGetCapabilities(virConnect *connection)",
  virConnectGetDomainCapabilities:
    "HeapString virConnectGetDomainCapabilities(virConnect *connection, const char *emulator, const char *arch, const char *machine, const char *type, uint flags)",
  virNodeGetInfo: "int virNodeGetInfo(virConnect *connection, _Out_ virNodeInfo *info)",
  virConnectListAllDomains: "int virConnectListAllDomains(virConnect *connection, _Out_ void **domains, uint flags)",
  virConnectListAllNetworks: "int virConnectListAllNetworks(virConnect *connection, _Out_ void **networks, uint flags)",
  virDomainLookupByUUIDString: "virDomain *virDomainLookupByUUIDString(virConnect *connection, const char *uuid)",
  virDomainLookupByName: "virDomain *virDomainLookupByName(virConnect *connection, const char *name)",
  virDomainDefineXMLFlags: "virDomain *virDomainDefineXMLFlags(virConnect *connection, const char *xml, uint flags)",
  virDomainGetState: "int virDomainGetState(virDomain *domain, _Out_ int *state, _Out_ int *reason, uint flags)",
  virDomainIsPersistent: "int virDomainIsPersistent(virDomain *domain)",
  virDomainIsActive: "int virDomainIsActive(virDomain *domain)",
  virDomainGetXMLDesc: "HeapString virDomainGetXMLDesc(virDomain *domain, uint flags)",
  virDomainCreateWithFlags: "int virDomainCreateWithFlags(virDomain *domain, uint flags)",
  virDomainShutdownFlags: "int virDomainShutdownFlags(virDomain *domain, uint flags)",
  virDomainDestroyFlags: "int virDomainDestroyFlags(virDomain *domain, uint flags)",
  virDomainUndefineFlags: "int virDomainUndefineFlags(virDomain *domain, uint flags)",
  virDomainSuspend: "int virDomainSuspend(virDomain *domain)",
  virDomainResume: "int virDomainResume(virDomain *domain)",
  virDomainReset: "int virDomainReset(virDomain *domain, uint flags)",
  virDomainGetMetadata: "HeapString virDomainGetMetadata(virDomain *domain, int type, const char *uri, uint flags)",
  virDomainSetMetadata:
    "int virDomainSetMetadata(virDomain *domain, int type, const char *metadata, const char *key, const char *uri, uint flags)",
  virDomainMigrateToURI3:
    "int virDomainMigrateToURI3(virDomain *domain, const char *destination, void *params, uint count, uint flags)",
  virDomainMigrateSetMaxSpeed: "int virDomainMigrateSetMaxSpeed(virDomain *domain, ulong mebibytesPerSecond, uint flags)",
  virDomainMigrateSetMaxDowntime: "int virDomainMigrateSetMaxDowntime(virDomain *domain, uint64_t milliseconds, uint flags)",
  virDomainGetJobStats:
    "int virDomainGetJobStats(virDomain *domain, _Out_ int *type, _Out_ void **params, _Out_ int *count, uint flags)",
  virDomainAbortJob: "int virDomainAbortJob(virDomain *domain)",
  virDomainAbortJobFlags: "int virDomainAbortJobFlags(virDomain *domain, uint flags)",
  virDomainMigrateStartPostCopy: "int virDomainMigrateStartPostCopy(virDomain *domain, uint flags)",
  virConnectCompareHypervisorCPU:
    "int virConnectCompareHypervisorCPU(virConnect *connection, const char *emulator, const char *arch, const char *machine, const char *type, const char *xml, uint flags)",
  virDomainStartDirtyRateCalc: "int virDomainStartDirtyRateCalc(virDomain *domain, int seconds, uint flags)",
  virDomainListGetStats: "int virDomainListGetStats(virDomain **domains, uint stats, _Out_ void **records, uint flags)",
  virDomainOpenConsole: "int virDomainOpenConsole(virDomain *domain, const char *device, virStream *stream, uint flags)",
  virStreamNew: "virStream *virStreamNew(virConnect *connection, uint flags)",
  virStreamRecv: "int virStreamRecv(virStream *stream, void *data, size_t length)",
  virStreamSend: "int virStreamSend(virStream *stream, const void *data, size_t length)",
  virStreamEventAddCallback:
    "int virStreamEventAddCallback(virStream *stream, int events, void *callback, intptr_t opaque, void *free)",
  virStreamEventUpdateCallback: "int virStreamEventUpdateCallback(virStream *stream, int events)",
  virStreamEventRemoveCallback: "int virStreamEventRemoveCallback(virStream *stream)",
  virStreamFinish: "int virStreamFinish(virStream *stream)",
  virStreamAbort: "int virStreamAbort(virStream *stream)",
} as const;

/** Calls of libvirt-qemu.so.0, which comes with libvirt.so.0 and is loaded at the first of them. */
export const QEMU = {
  virDomainQemuMonitorCommand: "int virDomainQemuMonitorCommand(virDomain *domain, const char *command, _Out_ void **answer, uint flags)",
} as const;

export const LOCAL = {
  virInitialize: "int virInitialize(void)",
  virEventRegisterDefaultImpl: "int virEventRegisterDefaultImpl(void)",
  virEventAddTimeout: "int virEventAddTimeout(int delayMs, void *callback, intptr_t opaque, void *free)",
  virEventUpdateTimeout: "void virEventUpdateTimeout(int timer, int delayMs)",
  virEventRemoveTimeout: "int virEventRemoveTimeout(int timer)",
  virSetErrorFunc: "void virSetErrorFunc(void *data, void *handler)",
  virConnectIsAlive: "int virConnectIsAlive(virConnect *connection)",
  virConnGetLastError: "virError *virConnGetLastError(virConnect *connection)",
  virConnResetLastError: "void virConnResetLastError(virConnect *connection)",
  virDomainFree: "int virDomainFree(virDomain *domain)",
  virNetworkFree: "int virNetworkFree(virNetwork *network)",
  virStreamFree: "int virStreamFree(virStream *stream)",
  virDomainGetName: "str virDomainGetName(virDomain *domain)",
  virNetworkGetName: "str virNetworkGetName(virNetwork *network)",
  virDomainGetUUIDString: "int virDomainGetUUIDString(virDomain *domain, _Out_ uint8_t *uuid)",
  virTypedParamsAddFromString:
    "int virTypedParamsAddFromString(_Inout_ void **params, _Inout_ int *count, _Inout_ int *max, const char *name, int type, const char *value)",
  virDomainStatsRecordListFree: "void virDomainStatsRecordListFree(void *records)",
  virTypedParamsFree: "void virTypedParamsFree(void *params, int count)",
} as const;

export type RemoteCall = keyof typeof REMOTE | keyof typeof QEMU;
export type LocalCall = keyof typeof LOCAL;
export type CallbackName = keyof typeof CALLBACKS;
