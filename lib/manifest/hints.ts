/** What to write in place of fields that KubeVirt has and Drover does not: the answer a newcomer needs, by key. */

const DISK = 'not supported: use disk {pool, image}, which names an image in a pool of the node';
const HINTS: Record<string, string> = {
  containerDisk: DISK,
  persistentVolumeClaim: DISK,
  dataVolume: DISK,
  ephemeral: DISK,
  hostDisk: DISK,
  dataVolumeTemplates: "not supported: make the image in a pool, and use disk {pool, image}",
  running: "not supported: use runStrategy (Always in place of true, Halted in place of false)",
  instancetype: "not supported: write cpu and memory into template.spec.domain",
  preference: "not supported: write the devices into template.spec.domain",
  resources: "not supported: use domain.memory.guest and domain.cpu",
  multus: "not supported: use bridge {bridgeName} or libvirt {networkName}",
  sriov: "not supported: use bridge or masquerade",
  slirp: "not supported: use masquerade with the network source user or pod",
  userDataBase64: "not supported: use userData with the plain text",
  networkDataBase64: "not supported: use networkData with the plain text",
  secretRef: "not supported: write the value as userData",
  userDataSecretRef: "not supported: write the value as userData",
  container: "not supported: use kernelBoot {pool, kernel, initrd}",
  generateName: "not supported: give the object a name",
  affinity: "not supported: use nodeSelector and tolerations",
  "<<": "merge keys are not supported: repeat the fields",
};

export const hintFor = (key: string): string | undefined => (Object.hasOwn(HINTS, key) ? HINTS[key] : undefined);
