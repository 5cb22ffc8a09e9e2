/**
 * What would make Drover disappoint on a machine as it is: libvirt runs QEMU as a user of its own, who may not reach
 * what root reaches. Asked of libvirt and tried as that user, since configuration files do not tell it.
 */
import { CommandFailed, run } from "../test/lab/process.ts";

export type QemuUser = { uid: string; gid: string };
export type Hindrance = { message: string; isFatal: boolean };

/** From libvirt's capabilities; undefined when libvirt does not say, as where all run as one user. */
export function qemuUserOf(capabilities: string): QemuUser | undefined {
  const [, uid, gid] = /<model>dac<\/model>.*?<baselabel[^>]*>\+?(\d+):\+?(\d+)</s.exec(capabilities) ?? [];
  return uid === undefined || gid === undefined ? undefined : { uid, gid };
}

/** The device counts only if it is there: without it libvirt and Drover know that there is no KVM. */
export async function hindrancesOf(user: QemuUser, { pool, device }: { pool: string; device: string }): Promise<Hindrance[]> {
  const found: Hindrance[] = [];
  if (!(await passes(user, ["-r", pool, "-a", "-x", pool]))) {
    const message = `QEMU runs as user ${user.uid} here, who cannot reach ${pool}; choose a directory that all may enter, for example: npm start -- --directory /var/lib/drover`;
    found.push({ message, isFatal: true });
  }
  if (await passes(user, ["!", "-e", device, "-o", "-r", device, "-a", "-w", device])) return found;
  // Libvirt's own probe finds KVM, its check as this user does not, so it believes no answer that it has stored.
  const message = `QEMU runs as user ${user.uid} here, who cannot open ${device}: libvirt then probes QEMU again at each call, and starts take many seconds. Let the user in: chgrp ${user.gid} ${device} && chmod 660 ${device}`;
  return [...found, { message, isFatal: false }];
}

async function passes({ uid, gid }: QemuUser, condition: readonly string[]): Promise<boolean> {
  // A user whom the machine does not list has no further groups.
  const groups = await run("getent", ["passwd", uid]).then(() => "--init-groups", () => "--clear-groups");
  try {
    await run("setpriv", ["--reuid", uid, "--regid", gid, groups, "--", "test", ...condition]);
    return true;
  } catch (error) {
    if (error instanceof CommandFailed && error.exitCode === 1 && error.stderr === "") return false;
    throw error;
  }
}
