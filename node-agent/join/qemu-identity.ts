/** QEMU's own certificate where QEMU looks for it, for the user that QEMU runs as. */
import type { Logger } from "../../lib/log.ts";
import { installQemuPki } from "../door/qemu-pki.ts";
import type { KeptIdentity } from "./identity-files.ts";

export type QemuOwner = { uid: number; gid: number };

export type QemuIdentityOptions = {
  /** Undefined on a node that receives no migrations; it sends none either. */
  directory: string | undefined;
  identity: () => KeptIdentity;
  /** As libvirt knows it; rejects while libvirt is away. */
  owner: () => Promise<QemuOwner>;
  log: Logger;
};

export class QemuIdentity {
  readonly #options: QemuIdentityOptions;
  #installed: string | undefined;
  #fault = "QEMU's certificate is not installed yet";

  constructor(options: QemuIdentityOptions) {
    this.#options = options;
  }

  /** Why QEMU has not got its certificate; empty when it has. */
  get fault(): string {
    return this.#fault;
  }

  /** Never fails: what it cannot do, it is asked for again. */
  async install(): Promise<void> {
    const { directory, identity, owner, log } = this.#options;
    if (directory === undefined) return;
    try {
      const user = await owner();
      const { pem, version } = identity();
      if (this.#installed === version) return;
      installQemuPki(directory, { ca: pem.migrationCa, ...pem.migration }, user);
      this.#installed = version;
      this.#fault = "";
      log.info({ directory, user }, "QEMU has its certificate");
    } catch (error) {
      log.warn({ error, directory }, "QEMU's certificate could not be installed");
      if (this.#installed === undefined) this.#fault = `QEMU's certificate could not be installed: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
}
