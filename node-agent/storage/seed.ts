/** Cloud-init's NoCloud data as a CD image (pure). */
import { stringify } from "yaml";
import type { CloudInitNoCloud } from "../../gen/drover/v1/machine.ts";
import { isoImage } from "./iso9660.ts";

const LABEL = "cidata";

/** The instance id is the machine's, so that a restart is no first boot. user-data must be there even when it is empty. */
export function seedIso({ userData, networkData }: CloudInitNoCloud, { vm, vmUid }: { vm: string; vmUid: string }): Buffer {
  const network = networkData?.value ?? "";
  const files = {
    "meta-data": stringify({ "instance-id": vmUid, "local-hostname": vm }),
    "user-data": userData?.value ?? "",
    ...(network === "" ? {} : { "network-config": network }),
  };
  return isoImage(LABEL, Object.entries(files).map(([name, text]) => ({ name, content: Buffer.from(text) })));
}
