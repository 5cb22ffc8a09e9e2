/**
 * Removes images that a migration has left in this node's pools: at the source once the record says that their bytes have
 * moved, at the target once it says that they did not come. Only the record's own word removes a disk; where it says nothing,
 * the image stays and is asked about again.
 */
import type { LookupMachineResponse } from "../../gen/drover/agent/v1/agent.ts";
import { VolumeState } from "../../gen/drover/v1/volume.ts";
import type { Volume } from "../../gen/drover/v1/volume.ts";
import type { Logger } from "../../lib/log.ts";
import type { ControlPlane } from "../control-plane.ts";
import type { Storage } from "../storage/storage.ts";
import type { Transfer } from "../storage/transfers.ts";

export type LeftoverImagesOptions = {
  storage: Pick<Storage, "copies" | "transfers">;
  controlPlane: Pick<ControlPlane, "lookUp">;
  storeId: () => string | undefined;
  /** Uids of the open migrations that this node has a part in; undefined while it does not know them all. */
  open: () => ReadonlySet<string> | undefined;
  log: Logger;
};

export type ImageFate =
  /** The record has given up the bytes that this migration left here. */
  | "remove"
  /** They are a machine's disk, or a later migration's to see to. */
  | "keep"
  | "unknown";

export function imageFate(volume: Volume | undefined, migrationUid: string): ImageFate {
  const { state, migrationUid: owed } = volume?.status ?? { state: VolumeState.UNSPECIFIED, migrationUid: "" };
  if (!volume) return "unknown";
  if (state === VolumeState.UNSPECIFIED) return "keep";
  if (state !== VolumeState.VACATED && state !== VolumeState.INCOMING) return "unknown";
  if (owed !== migrationUid) return "keep";
  return state === VolumeState.VACATED ? "remove" : "unknown";
}

/** What nothing is known about, or cannot be removed, is looked at only now and then. */
const UNCLEAR_TURNS = 20;

export class LeftoverImages {
  readonly #options: LeftoverImagesOptions;
  /** By migration: sweeps that it is left out of. */
  readonly #unclear = new Map<string, number>();

  constructor(options: LeftoverImagesOptions) {
    this.#options = options;
  }

  async sweep(): Promise<void> {
    const { storage, open, log } = this.#options;
    for (const { migrationUid } of storage.transfers.list()) {
      if (this.#isLeftOut(migrationUid)) continue;
      await storage.copies.exclusively(async () => {
        const [transfer, migrations] = [storage.transfers.list().find((one) => one.migrationUid === migrationUid), open()];
        if (transfer && migrations) await this.#settle(transfer, migrations.has(migrationUid));
      }).catch((error: unknown) => {
        log.warn({ error, migrationUid }, "what a migration left here cannot be removed yet");
        this.#unclear.set(migrationUid, UNCLEAR_TURNS);
      });
    }
  }

  #isLeftOut(migrationUid: string): boolean {
    const turns = this.#unclear.get(migrationUid) ?? 0;
    if (turns > 1) this.#unclear.set(migrationUid, turns - 1);
    else this.#unclear.delete(migrationUid);
    return turns > 1;
  }

  async #settle(transfer: Transfer, isOpen: boolean): Promise<void> {
    const { storage, storeId, log } = this.#options;
    const { migrationUid, images } = transfer;
    const answer = images.length > 0 ? await this.#lookUp(transfer) : undefined;
    if (answer && answer.storeId !== storeId()) return;
    let unclear = 0;
    for (const place of images) {
      const fate = imageFate(answer?.volumes.find(({ metadata }) => metadata?.name === place.volume), migrationUid);
      if (fate === "remove") {
        log.info({ migrationUid, ...place }, "removing an image whose bytes are elsewhere");
        await storage.copies.removeImage(place);
      } else if (fate === "unknown" && (await storage.copies.hasImage(place))) unclear += 1;
    }
    // While it is open, what is a disk now may be a leftover soon.
    if (isOpen) return;
    if (unclear > 0) return this.#leaveOut(transfer);
    await storage.copies.removeProofs(transfer);
    storage.transfers.remove(migrationUid);
  }

  #leaveOut({ migrationUid, images }: Transfer): void {
    this.#options.log.debug({ migrationUid, images }, "the record does not say whose these images are: they stay");
    this.#unclear.set(migrationUid, UNCLEAR_TURNS);
  }

  #lookUp({ namespace, vm, vmUid, vmiUid, images }: Transfer): Promise<LookupMachineResponse> {
    return this.#options.controlPlane.lookUp({ namespace, vmName: vm, vmUid, vmiUid, volumes: images.map(({ volume }) => volume) });
  }
}
