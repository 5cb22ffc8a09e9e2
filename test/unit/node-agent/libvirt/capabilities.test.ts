import assert from "node:assert/strict";
import { parseCapabilities, parseCpuModels } from "../../../../node-agent/libvirt/capabilities.ts";

const guest = (os: string, arch: string, machines: string) => `<guest><os_type>${os}</os_type><arch name='${arch}'>
  <wordsize>64</wordsize><emulator>/usr/bin/qemu-system-${arch}</emulator>${machines}<domain type='qemu'/><domain type='kvm'/></arch></guest>`;
const machines = `<machine maxCpus='255'>pc-i440fx-7.2</machine><machine canonical='pc-i440fx-7.2' maxCpus='255'>pc</machine>
  <machine canonical='pc-q35-7.2' maxCpus='288'>q35</machine><machine>isapc</machine>`;
const capabilities = (...guests: string[]) =>
  `<capabilities><host><uuid>1</uuid><cpu><arch>x86_64</arch><model>EPYC</model></cpu></host>${guests.join("")}</capabilities>`;

describe("capabilities", () => {
  it("pins machine types and keeps aliases apart, for the host's own architecture", () => {
    const xml = capabilities(guest("hvm", "i686", "<machine>other</machine>"), guest("xen", "x86_64", ""), guest("hvm", "x86_64", machines));
    assert.deepEqual(parseCapabilities(xml), {
      architecture: "x86_64",
      emulator: "/usr/bin/qemu-system-x86_64",
      domainTypes: ["qemu", "kvm"],
      machineTypes: ["isapc", "pc-i440fx-7.2", "pc-q35-7.2"],
      machineAliases: { pc: "pc-i440fx-7.2", q35: "pc-q35-7.2" },
    });
  });

  it("knows whom QEMU runs as, where the host says it", () => {
    const models = ["<secmodel><model>apparmor</model><doi>0</doi></secmodel>",
      "<secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+104</baselabel><baselabel type='qemu'>+64055:+104</baselabel></secmodel>"];
    const owner = (labels: string) => parseCapabilities(capabilities().replace("</host>", `${labels}</host>`)).qemuOwner;
    assert.deepEqual(owner(models.join("")), { uid: 64_055, gid: 104 });
    assert.equal(owner(models[0]!), undefined);
    assert.equal(owner("<secmodel><model>testSecurity</model><doi></doi></secmodel>"), undefined);
  });

  it("says that a host without guests of its architecture can run nothing", () => {
    assert.deepEqual(parseCapabilities(capabilities(guest("hvm", "aarch64", machines))).domainTypes, []);
    assert.deepEqual(parseCapabilities(capabilities()).machineTypes, []);
  });

  it("takes only the CPU models that can be given, from the modes that are supported", () => {
    const xml = `<domainCapabilities><cpu>
      <mode name='host-passthrough' supported='no'/><mode name='maximum' supported='yes'/>
      <mode name='host-model' supported='yes'><model fallback='forbid'>EPYC</model></mode>
      <mode name='custom' supported='yes'><model usable='yes' vendor='unknown'>qemu64</model>
        <model usable='no' vendor='Intel'>Skylake-Server</model><model usable='yes'>486</model></mode></cpu></domainCapabilities>`;
    assert.deepEqual(parseCpuModels(xml, "qemu"), {
      domainType: "qemu", usable: ["486", "qemu64"], hostModel: "EPYC", hostPassthrough: false, maximum: true,
    });
    assert.deepEqual(parseCpuModels("<domainCapabilities><path/></domainCapabilities>", "kvm"), {
      domainType: "kvm", usable: [], hostPassthrough: false, maximum: false,
    });
  });
});
