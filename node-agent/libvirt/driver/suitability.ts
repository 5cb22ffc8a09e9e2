/** What is asked before a move: whether a CPU fits this host, and how busy a guest is with its memory. */
import { compareCpuFlag, dirtyRateStatus, errorCode, statsGroup } from "../constants.ts";
import { HypervisorError } from "../hypervisor.ts";
import type { CpuQuestion, CpuVerdict, MemoryLoad } from "../hypervisor.ts";
import { withDomain } from "./domains.ts";
import type { DomainHandle, Lane } from "./lane.ts";
import type { Pointer } from "./library.ts";
import { readTypedParams } from "./typed-params.ts";
import type { ParameterValue } from "./typed-params.ts";

const KIBIBYTE = 1024;
const MEBIBYTE = 1024 ** 2;
const POINTER_BYTES = 8;
/** struct virDomainStatsRecord: the domain, the parameters at 8, their number at 16. */
const RECORD_BYTES = 24;
const PARAMS_OFFSET = 8;
const COUNT_OFFSET = 16;

/** Asked to fail where the CPU does not fit, since only the error names what is missing. */
export async function compareCpu(lane: Lane, { emulator, architecture, machineType, domainType, cpuXml }: CpuQuestion): Promise<CpuVerdict> {
  try {
    await lane.onConnection(
      "virConnectCompareHypervisorCPU", emulator || null, architecture, machineType || null, domainType, cpuXml, compareCpuFlag.FAIL_INCOMPATIBLE,
    );
    return { compatible: true, message: "" };
  } catch (error) {
    if (error instanceof HypervisorError && error.code === errorCode.CPU_INCOMPATIBLE) return { compatible: false, message: error.message };
    throw error;
  }
}

export function startDirtyRate(lane: Lane, uuid: string, seconds: number): Promise<void> {
  return withDomain(lane, uuid, async (handle) => {
    await lane.onDomain("virDomainStartDirtyRateCalc", handle, seconds, 0);
  });
}

export function memoryLoad(lane: Lane, uuid: string): Promise<MemoryLoad> {
  return withDomain(lane, uuid, async (handle) => {
    const values = await statsOf(lane, handle, statsGroup.BALLOON | statsGroup.DIRTYRATE);
    const resident = values.get("balloon.rss");
    const changed = values.get("dirtyrate.megabytes_per_second");
    const measured = values.get("dirtyrate.calc_status") === dirtyRateStatus.MEASURED && typeof changed === "number";
    return {
      ...(typeof resident === "number" && { residentBytes: resident * KIBIBYTE }),
      ...(measured && { dirtyBytesPerSecond: changed * MEBIBYTE }),
    };
  });
}

/** One domain's figures; the list that they come in is libvirt's to free. */
async function statsOf(lane: Lane, handle: DomainHandle, groups: number): Promise<ReadonlyMap<string, ParameterValue>> {
  const { library } = lane;
  const records: [Pointer | null] = [null];
  await lane.onDomains("virDomainListGetStats", [handle], groups, records, 0);
  try {
    if (records[0] === null) return new Map();
    const first = library.bytes(records[0], POINTER_BYTES).readBigUInt64LE();
    const record = library.bytes(first, RECORD_BYTES);
    return readTypedParams(library, record.readBigUInt64LE(PARAMS_OFFSET), record.readInt32LE(COUNT_OFFSET));
  } finally {
    if (records[0] !== null) library.local("virDomainStatsRecordListFree", records[0]);
  }
}
