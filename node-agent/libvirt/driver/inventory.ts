/** What a host is and can run. */
import { availableParallelism, totalmem } from "node:os";
import { parseCapabilities, parseCpuModels } from "../capabilities.ts";
import type { Capabilities } from "../capabilities.ts";
import { errorCode, listNetworksFlag } from "../constants.ts";
import { HypervisorError } from "../hypervisor.ts";
import type { HostInventory } from "../hypervisor.ts";
import { isTestDriver } from "../uri.ts";
import type { Lane } from "./lane.ts";
import type { Pointer } from "./library.ts";

const KIBIBYTE = 1024;

export async function inventory(lane: Lane, uri: string, domainType: string): Promise<HostInventory> {
  const capabilities = parseCapabilities((await lane.onConnection("virConnectGetCapabilities")) as string);
  return {
    hostname: (await lane.onConnection("virConnectGetHostname")) as string,
    libvirtVersion: await version(lane, "virConnectGetLibVersion"),
    hypervisorVersion: await version(lane, "virConnectGetVersion"),
    ...capabilities,
    ...(isTestDriver(uri) ? await simulatedSize(lane) : realSize()),
    cpuModels: await cpuModels(lane, capabilities, domainType),
    networks: await networks(lane),
  };
}

/** libvirt packs a version as major * 1,000,000 + minor * 1,000 + release. */
async function version(lane: Lane, call: "virConnectGetLibVersion" | "virConnectGetVersion"): Promise<string> {
  const packed: [number] = [0];
  await lane.onConnection(call, packed);
  return [Math.floor(packed[0] / 1_000_000), Math.floor(packed[0] / 1_000) % 1_000, packed[0] % 1_000].join(".");
}

/** libvirt's own figure was seen to be far off; the daemon runs on this machine, so the kernel is asked. */
function realSize(): Pick<HostInventory, "cpus" | "memoryBytes"> {
  return { cpus: availableParallelism(), memoryBytes: totalmem() };
}

async function simulatedSize(lane: Lane): Promise<Pick<HostInventory, "cpus" | "memoryBytes">> {
  const info = { cpus: 0, memoryKibibytes: 0 };
  await lane.onConnection("virNodeGetInfo", info);
  return { cpus: info.cpus, memoryBytes: info.memoryKibibytes * KIBIBYTE };
}

async function cpuModels(lane: Lane, { emulator, architecture }: Capabilities, domainType: string): Promise<HostInventory["cpuModels"]> {
  const none = { domainType, usable: [], hostPassthrough: false, maximum: false };
  const call = lane.onConnection("virConnectGetDomainCapabilities", emulator || null, architecture, null, domainType, 0);
  return orWhenUnsupported(call.then((xml) => parseCpuModels(xml as string, domainType)), none);
}

async function networks(lane: Lane): Promise<string[]> {
  const array: [Pointer] = [0n];
  const count = await orWhenUnsupported(lane.onConnection("virConnectListAllNetworks", array, listNetworksFlag.ACTIVE), 0);
  if (count === 0 && array[0] === 0n) return [];
  return lane.library.takeArray(array[0], count as number).map((network) => {
    const name = lane.library.local("virNetworkGetName", network) as string;
    lane.library.local("virNetworkFree", network);
    return name;
  });
}

/** Some drivers have no domain capabilities and some daemons no networks: that is an answer, not a failure. */
async function orWhenUnsupported<T>(call: Promise<T>, otherwise: T): Promise<T> {
  return call.catch((error: unknown) => {
    if (error instanceof HypervisorError && error.code === errorCode.NO_SUPPORT) return otherwise;
    throw error;
  });
}
