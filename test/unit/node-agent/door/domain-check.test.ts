/** A domain from another host: what libvirt makes of ours passes, and no path, device or right of the host's with it. */
import assert from "node:assert/strict";
import { checkDomain, intendedOf } from "../../../../node-agent/door/domain-check.ts";
import { Unintended } from "../../../../node-agent/door/tree-check.ts";
import { BadXml, parseXml } from "../../../../node-agent/door/xml-tree.ts";
import { readParameters } from "../../../../node-agent/door/typed-params.ts";
import { procedure } from "../../../../node-agent/door/rpc.ts";
import { XdrReader } from "../../../../node-agent/door/xdr.ts";
import { serialize } from "../../../../node-agent/domain/element.ts";
import type { Element } from "../../../../node-agent/domain/element.ts";
import { INTENDED_XML, recordedFrames } from "./recorded.ts";

const intended = intendedOf(parseXml(INTENDED_XML));
const OFFERED_XML = offered();
const POOL = /<source file='(.*)\/root\.qcow2'/.exec(OFFERED_XML)![1]!;

/** The XML that the source's libvirt made, with addresses, controllers and all. */
function offered(): string {
  const { body } = recordedFrames().find((frame) => frame.procedure === procedure.DOMAIN_MIGRATE_PREPARE3_PARAMS)!;
  const parameter = readParameters(new XdrReader(body)).find(({ name }) => name === "destination_xml")!;
  return "value" in parameter ? parameter.value : "";
}

const check = (xml: string): string => serialize(checkDomain(parseXml(xml), intended));
const device = (xml: string) => OFFERED_XML.replace("</devices>", `${xml}</devices>`);
const swap = (before: string | RegExp, after: string): string => {
  const xml = OFFERED_XML.replace(before, after);
  assert.notEqual(xml, OFFERED_XML, `nothing to replace: ${String(before)}`);
  return xml;
};

describe("the check of a domain that moves here", () => {
  it("passes what libvirt made of the intended one, and what it was made of", () => {
    assert.deepEqual(parseXml(check(OFFERED_XML)), parseXml(OFFERED_XML));
    assert.deepEqual(parseXml(check(INTENDED_XML)), parseXml(INTENDED_XML));
  });

  it("keeps to itself what the daemon here chooses anew", () => {
    const labelled = swap("</domain>", "<seclabel type='dynamic' model='apparmor' relabel='yes'><label>libvirt-1</label><imagelabel>libvirt-1</imagelabel></seclabel></domain>");
    assert.deepEqual(parseXml(check(labelled)), parseXml(OFFERED_XML));
  });

  const refused: [string, () => string, RegExp][] = [
    ["one more disk", () => device(`<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/etc/shadow'/><target dev='vdb' bus='virtio'/></disk>`), /disk/],
    ["a disk of the same machine twice", () => swap(/(<disk type='file' device='disk'>\s*<driver name='qemu' type='raw'[^]*?<\/disk>)/, "$1$1"), /too many|twice/],
    ["a disk by network", () => swap(`<source file='${POOL}/data.raw'/>`, "<source protocol='nbd' name='x'><host name='evil' port='1'/></source>"), /source/],
    ["a block device", () => swap(`<source file='${POOL}/data.raw'/>`, "<source dev='/dev/sda'/>"), /may have no dev/],
    ["a raw image as qcow2", () => swap("<driver name='qemu' type='raw' cache='none' io='native' discard='unmap'/>", "<driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap'/>"), /put together/],
    ["another base", () => swap(`<source file='${POOL}/base.qcow2'/>`, "<source file='/etc/shadow'/>"), /another file/],
    ["no end of the chain", () => swap(/<format type='qcow2'\/>\s*<source file='[^']*base.qcow2'\/>/, `<format type='qcow2'/><source file='${POOL}/root.qcow2'/>`), /another file/],
    ["a read-only disk made writable", () => swap("<readonly/>", ""), /put together/],
    ["a disk that others may write", () => swap("<serial>abc</serial>", "<serial>abc</serial><shareable/>"), /shareable/],
    ["an encrypted disk", () => swap("<serial>abc</serial>", "<serial>abc</serial><encryption format='luks'/>"), /encryption/],
    ["a label of its own on a disk", () => swap(`<source file='${POOL}/data.raw'/>`, `<source file='${POOL}/data.raw'><seclabel relabel='no'/></source>`), /seclabel/],
    ["another kernel", () => swap(/<kernel>.*<\/kernel>/, "<kernel>/etc/shadow</kernel>"), /kernel/],
    ["another initrd", () => swap(/<initrd>.*<\/initrd>/, "<initrd>/etc/shadow</initrd>"), /initrd/],
    ["another command line", () => swap("console=ttyS0 quiet", "init=/bin/sh"), /cmdline/],
    ["a firmware of its own", () => swap("<os>", "<os firmware='efi'>"), /firmware/],
    ["a loader", () => swap("<smbios", "<loader readonly='yes' type='pflash'>/etc/shadow</loader><smbios"), /loader/],
    ["variables from a template", () => swap("<smbios", "<nvram template='/etc/shadow'>/tmp/x</nvram><smbios"), /nvram/],
    ["tables from a file", () => swap("<smbios", "<acpi><table type='slic'>/etc/shadow</table></acpi><smbios"), /acpi/],
    ["firmware settings from a file", () => swap("</sysinfo>", "</sysinfo><sysinfo type='fwcfg'><entry name='opt/x' file='/etc/shadow'/></sysinfo>"), /sysinfo/],
    ["another emulator", () => swap(/<emulator>.*<\/emulator>/, "<emulator>/tmp/evil</emulator>"), /emulator/],
    ["another machine type", () => swap("machine='pc-q35-7.2'", "machine='microvm'"), /machine/],
    ["another virtualization", () => swap("<domain type='qemu'>", "<domain type='kvm'>"), /type/],
    ["QEMU's own arguments", () => swap("</domain>", "<qemu:commandline xmlns:qemu='x'><qemu:arg value='-S'/></qemu:commandline></domain>"), /commandline/],
    ["a device of the host's", () => device("<hostdev mode='subsystem' type='pci'/>"), /hostdev/],
    ["a directory of the host's", () => device("<filesystem type='mount'><source dir='/'/><target dir='x'/></filesystem>"), /filesystem/],
    ["a redirected device", () => device("<redirdev bus='usb' type='tcp'><source mode='bind' host='0.0.0.0' service='1'/></redirdev>"), /redirdev/],
    ["shared memory", () => device("<shmem name='x'/>"), /shmem/],
    ["a TPM", () => device("<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"), /tpm/],
    ["a smart card", () => device("<smartcard mode='host'/>"), /smartcard/],
    ["sound to the host's files", () => device("<audio id='1' type='file' path='/etc/x'/>"), /audio/],
    ["another console log", () => swap(/<log file='[^']*'/, "<log file='/etc/shadow'"), /log/],
    ["another console socket", () => swap(/<source mode='bind' path='[^']*'/, "<source mode='bind' path='/run/libvirt/libvirt-sock'"), /path/],
    ["a socket that it connects to", () => swap("mode='bind'", "mode='connect'"), /mode/],
    ["a console in a file", () => swap("<serial type='unix'>", "<serial type='file'>"), /type/],
    ["one more serial port", () => device("<serial type='unix'><target type='isa-serial' port='1'/></serial>"), /too many/],
    ["a channel with a path", () => swap("<target type='virtio' name='org.qemu.guest_agent.0'/>", "<source mode='bind' path='/tmp/x'/><target type='virtio' name='org.qemu.guest_agent.0'/>"), /source/],
    ["another card", () => swap("02:00:00:00:00:01", "02:00:00:00:00:09"), /address/],
    ["a bridge", () => swap("<interface type='user'>", "<interface type='bridge'>"), /type/],
    ["a script", () => swap("<model type='virtio'/>", "<script path='/tmp/x'/><model type='virtio'/>"), /script/],
    ["a backend of its own", () => swap("<model type='virtio'/>", "<backend tap='/dev/net/tun' vhost='/dev/vhost-net'/><model type='virtio'/>"), /backend/],
    ["a display on the network", () => swap("<listen type='socket'/>", "<listen type='address' address='0.0.0.0'/>"), /listen/],
    ["a display with a password of its own", () => swap("<graphics type='vnc'>", "<graphics type='vnc' passwd='x'>"), /passwd/],
    ["randomness from elsewhere", () => swap(">/dev/urandom<", ">/dev/sda<"), /backend/],
    ["a label that it chooses", () => swap("</domain>", "<seclabel type='none'/></domain>"), /seclabel/],
    ["a static label", () => swap("</domain>", "<seclabel type='static' model='dac' relabel='yes'><label>0:0</label></seclabel></domain>"), /seclabel/],
    ["a base label", () => swap("</domain>", "<seclabel type='dynamic' model='dac' relabel='yes'><baselabel>0:0</baselabel></seclabel></domain>"), /baselabel/],
    ["a control group", () => swap("/machine<", "/system.slice<"), /partition/],
    ["a core dump at its end", () => swap("<on_crash>destroy<", "<on_crash>coredump-destroy<"), /on_crash/],
    ["a dump by its watchdog", () => device("<watchdog model='itco' action='dump'/>"), /action/],
    ["more memory", () => OFFERED_XML.replaceAll("131072", "13107200"), /memory/],
    ["memory in another unit", () => OFFERED_XML.replaceAll("unit='KiB'", "unit='GiB'"), /unit/],
    ["more processors", () => swap("<vcpu placement='static'>2<", "<vcpu placement='static'>64<"), /vcpu/],
    ["pinned processors", () => swap("<os>", "<cputune><shares>9</shares></cputune><os>"), /cputune/],
    ["huge pages", () => swap("<os>", "<memoryBacking><hugepages/></memoryBacking><os>"), /memoryBacking/],
    ["another name", () => swap("<name>default_web_aaaaaaaa<", "<name>other<"), /name/],
    ["another uuid", () => swap("5a6b0b2e", "6a6b0b2e"), /uuid/],
    ["another epoch", () => swap('epoch="4"', 'epoch="5"'), /epoch/],
    ["no epoch", () => swap('epoch="4"', ""), /epoch/],
    ["another run", () => swap('vmiUid="1', 'vmiUid="2'), /vmiUid/],
    ["no metadata", () => swap(/<metadata>[^]*<\/metadata>/, ""), /metadata/],
    ["foreign metadata", () => swap("<metadata>", "<metadata><x:y xmlns:x='z'/>"), /x:y/],
    ["another root", () => "<network/>", /no domain/],
  ];
  for (const [what, make, reason] of refused) it(`refuses ${what}`, () => assert.throws(() => check(make()), reason));

  it("has no place where a path of the host's could stand", () => {
    const secret = "/etc/shadow";
    let places = 0;
    const everywhere = (element: Element, root: Element) => {
      for (const key of Object.keys(element.attributes)) attempt(() => (element.attributes[key] = secret), () => element.attributes, key);
      for (const [index, child] of element.children.entries()) {
        if (typeof child === "string") attempt(() => (element.children[index] = secret), () => element.children as unknown as Record<string, unknown>, String(index));
        else everywhere(child, root);
      }
      function attempt(spoil: () => void, holder: () => Record<string, unknown>, key: string) {
        const before = holder()[key];
        spoil();
        places += 1;
        try {
          assert.doesNotMatch(serialize(checkDomain(root, intended)), /shadow/, `${element.name} ${key}`);
        } catch (error) {
          assert.ok(error instanceof Unintended, String(error));
        }
        holder()[key] = before;
      }
    };
    const root = parseXml(OFFERED_XML);
    everywhere(root, root);
    assert.ok(places > 400, `${places} places`);
    assert.deepEqual(root, parseXml(OFFERED_XML));
  });

  const unreadable: [string, string][] = [
    ["an entity of its own", `<!DOCTYPE d [<!ENTITY x "y">]><domain>&x;</domain>`],
    ["a comment", "<domain><!-- x --></domain>"],
    ["a marked section", "<domain><![CDATA[x]]></domain>"],
    ["a declaration", "<?xml version='1.0'?><domain/>"],
    ["an open end", "<domain><name></domain>"],
    ["two roots", "<domain/><domain/>"],
    ["text among elements", "<domain>x<name/></domain>"],
    ["an attribute twice", "<domain type='a' type='b'/>"],
    ["no end of depth", `${"<a>".repeat(100)}${"</a>".repeat(100)}`],
    ["nothing", ""],
  ];
  for (const [what, xml] of unreadable) it(`does not read ${what}`, () => assert.throws(() => parseXml(xml), BadXml));
});
