/** Where a machine's files are (pure). Only uids become part of a path, so no name can lead anywhere. */
import { join } from "node:path";
import type { MachinePaths } from "../domain/parts.ts";
import { StorageError } from "./storage.ts";

const UID = /^[0-9a-zA-Z][0-9a-zA-Z-]{0,63}$/;
/** The kernel's limit on the path of a unix socket, without the terminating zero. */
const SOCKET_PATH_LENGTH_MAX = 107;
const UUID_LENGTH = 36;

export const machinesDirectory = (stateDirectory: string) => join(stateDirectory, "machines");

export function machineDirectory(stateDirectory: string, vmiUid: string): string {
  return join(machinesDirectory(stateDirectory), checkedUid(vmiUid));
}

/** Firmware variables belong to the machine rather than to one run of it. */
export function machinePaths(stateDirectory: string, { vmiUid, vmUid }: { vmiUid: string; vmUid: string }): MachinePaths {
  const directory = machineDirectory(stateDirectory, vmiUid);
  return {
    directory,
    consoleSocket: join(directory, "console.sock"),
    consoleLog: join(directory, "console.log"),
    nvram: nvramPath(stateDirectory, vmUid),
  };
}

export const firmwareVariablesDirectory = (stateDirectory: string) => join(stateDirectory, "nvram");

export function nvramPath(stateDirectory: string, vmUid: string): string {
  return join(firmwareVariablesDirectory(stateDirectory), `${checkedUid(vmUid)}.fd`);
}

/** Names of volumes are as harmless as uids, and checked like them. */
export function emptyDiskName(volume: string): string {
  return `empty-${checkedUid(volume)}.qcow2`;
}

export function seedName(volume: string): string {
  return `seed-${checkedUid(volume)}.iso`;
}

/** Why no machine could have its sockets below this directory; undefined when all is well. */
export function stateDirectoryFault(stateDirectory: string): string | undefined {
  const uid = "0".repeat(UUID_LENGTH);
  const longest = machinePaths(stateDirectory, { vmiUid: uid, vmUid: uid }).consoleSocket.length;
  if (longest <= SOCKET_PATH_LENGTH_MAX) return undefined;
  return `must be at most ${SOCKET_PATH_LENGTH_MAX - (longest - stateDirectory.length)} characters long, as sockets are made below it`;
}

function checkedUid(uid: string): string {
  if (!UID.test(uid)) throw new StorageError("InvalidName", `"${uid}" cannot be part of a path`);
  return uid;
}
