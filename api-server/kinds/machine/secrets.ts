/** Where a machine's spec holds secrets. Pure. */
import type { CloudInitNoCloud, VirtualMachineInstanceSpec, VirtualMachineVolume } from "../../../gen/drover/v1/machine.ts";
import type { SecretValue } from "../../../gen/drover/v1/meta.ts";

export type ReplaceSecret = (secret: SecretValue, place: string) => SecretValue;

export function mapMachineSecrets(spec: VirtualMachineInstanceSpec, replace: ReplaceSecret): VirtualMachineInstanceSpec {
  if (!spec.volumes.some(({ source }) => source?.$case === "cloudInitNoCloud")) return spec;
  return { ...spec, volumes: spec.volumes.map((volume) => mapVolume(volume, replace)) };
}

function mapVolume(volume: VirtualMachineVolume, replace: ReplaceSecret): VirtualMachineVolume {
  if (volume.source?.$case !== "cloudInitNoCloud") return volume;
  const { userData, networkData, ...rest } = volume.source.value;
  const value: CloudInitNoCloud = {
    ...rest,
    userData: userData && replace(userData, `${volume.name}/user_data`),
    networkData: networkData && replace(networkData, `${volume.name}/network_data`),
  };
  return { ...volume, source: { $case: "cloudInitNoCloud", value } };
}
