/** Why this node receives no migration, so that it is known before a guest is asked to move. */
import { readFileSync } from "node:fs";
import { ownIdentityIn } from "./peer.ts";
import { qemuPkiFault } from "./qemu-pki.ts";

export type BlockerOptions = { certificate: string; migration: { qemuPkiDirectory: string } | undefined };

/** Empty when it does. Asked at each report, as certificates come and go. */
export function migrationBlocker({ certificate, migration }: BlockerOptions): string {
  if (!migration) return "the agent's configuration does not say where migrations are received";
  return certificateFault(certificate) || qemuPkiFault(migration.qemuPkiDirectory);
}

function certificateFault(path: string): string {
  try {
    return ownIdentityIn(readFileSync(path, "utf8")) ? "" : "the agent's certificate is for no node";
  } catch {
    return "the agent has no certificate that can be read";
  }
}
