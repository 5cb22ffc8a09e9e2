/**
 * The certificate by which QEMU on this host meets QEMU on another, in the files that QEMU looks for. All five change in one
 * moment: they are links through one link, and that one is replaced.
 */
import { createHash } from "node:crypto";
import { chownSync, existsSync, mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export type QemuPem = { ca: string; cert: string; key: string };

const FILES = {
  "ca-cert.pem": "ca", "server-cert.pem": "cert", "server-key.pem": "key", "client-cert.pem": "cert", "client-key.pem": "key",
} as const satisfies Record<string, keyof QemuPem>;

const CURRENT = "current";
const VERSION = /^v-[0-9a-f]{16}$/;

/**
 * Safe to repeat, and to be killed in. `owner` is the user that QEMU runs as, who alone may read the key. QEMU reads the
 * files when a migration begins, so one that runs keeps what it has.
 */
export function installQemuPki(directory: string, pem: QemuPem, owner: { uid: number; gid: number }): void {
  const version = `v-${createHash("sha256").update(JSON.stringify(pem)).digest("hex").slice(0, 16)}`;
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  writeVersion(join(directory, version), pem, owner);
  link(directory, CURRENT, version);
  for (const name of Object.keys(FILES)) link(directory, name, join(CURRENT, name));
  for (const name of readdirSync(directory)) {
    if (VERSION.test(name) && name !== version) rmSync(join(directory, name), { recursive: true });
  }
}

/** Why QEMU could not prove who it is; empty when it can. */
export function qemuPkiFault(directory: string): string {
  const missing = Object.keys(FILES).filter((name) => !existsSync(join(directory, name)));
  return missing.length === 0 ? "" : `QEMU has no certificate: ${missing.join(", ")} missing in ${directory}`;
}

function writeVersion(directory: string, pem: QemuPem, { uid, gid }: { uid: number; gid: number }): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chownSync(directory, uid, gid);
  for (const [name, part] of Object.entries(FILES)) {
    const path = join(directory, name);
    writeFileSync(path, pem[part], { mode: 0o600 });
    chownSync(path, uid, gid);
  }
}

/** Replaces whatever has the name, but for a directory. */
function link(directory: string, name: string, target: string): void {
  const path = join(directory, name);
  if (linkOf(path) === target) return;
  const unfinished = `${path}.new`;
  rmSync(unfinished, { force: true });
  symlinkSync(target, unfinished);
  renameSync(unfinished, path);
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
