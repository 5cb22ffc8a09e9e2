/** Where distributions put OVMF. Both halves must be of one build size, so they are looked for in pairs. */
import { access } from "node:fs/promises";
import type { FirmwareFiles } from "../domain/parts.ts";

export const OVMF_PLACES: readonly FirmwareFiles[] = [
  { loader: "/usr/share/OVMF/OVMF_CODE_4M.fd", nvramTemplate: "/usr/share/OVMF/OVMF_VARS_4M.fd" },
  { loader: "/usr/share/OVMF/OVMF_CODE.fd", nvramTemplate: "/usr/share/OVMF/OVMF_VARS.fd" },
  { loader: "/usr/share/edk2/ovmf/OVMF_CODE.fd", nvramTemplate: "/usr/share/edk2/ovmf/OVMF_VARS.fd" },
  { loader: "/usr/share/edk2/x64/OVMF_CODE.4m.fd", nvramTemplate: "/usr/share/edk2/x64/OVMF_VARS.4m.fd" },
];

/** The first pair that is there. */
export async function findOvmf(places = OVMF_PLACES): Promise<FirmwareFiles | undefined> {
  for (const place of places) if ((await isReadable(place.loader)) && (await isReadable(place.nvramTemplate))) return place;
  return undefined;
}

async function isReadable(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
