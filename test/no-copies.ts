/** A node's part in copying disks, where every pool is shared: nothing is copied, and nothing is left over. */
import { DiskCopy } from "../gen/drover/v1/virtual_machine_instance.ts";
import type { DiskCopies } from "../node-agent/storage/storage.ts";

export const noCopies: DiskCopies = {
  offer: async () => [],
  receive: async () => ({ diskCopy: DiskCopy.UNSPECIFIED, poolProofs: {} }),
  verify: async () => undefined,
  exclusively: (act) => act(),
  removeImage: async () => undefined,
  hasImage: async () => false,
  removeProofs: async () => undefined,
};
