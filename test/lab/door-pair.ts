/**
 * Two lab hosts with a guest between them, and the certificates of both, so that a door on the one can be tried from the
 * other without agents.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Interface, Network } from "../../gen/drover/v1/machine.ts";
import { systemRandom } from "../../lib/random.ts";
import type { DoorGrant, FirstWord, Grant, PassageGrant, Standing } from "../../node-agent/door/grant.ts";
import { installQemuPki } from "../../node-agent/door/qemu-pki.ts";
import { domainXml } from "../../node-agent/domain/domain-xml.ts";
import { replaceEpoch } from "../../node-agent/domain/metadata.ts";
import type { MigrateOptions } from "../../node-agent/libvirt/hypervisor.ts";
import { instance, parts, prepared } from "../unit/node-agent/domain/build.ts";
import { DriverHost } from "./driver-host.ts";
import { REPOSITORY } from "./guest.ts";
import type { LabHost } from "./host.ts";
import { Lab } from "./lab.ts";
import { Authority } from "./pki.ts";
import type { CertificateFiles } from "./pki.ts";
import { outsidePid, signalPid } from "./proc-table.ts";

export const TRUST_DOMAIN = "drover";
const BRIDGE = "guests";
const SOURCE_EPOCH = 3;
const TARGET_EPOCH = 4;
const PROGRAM = join(REPOSITORY, "node-agent/door/main.ts");

type Side = "a" | "b";

export class DoorPair implements AsyncDisposable {
  readonly lab: Lab;
  readonly a: DriverHost;
  readonly b: DriverHost;
  readonly uid: Record<Side, string>;
  readonly #authority: Authority;
  #count = 0;

  private constructor(lab: Lab, authority: Authority, { a, b, uid }: { a: DriverHost; b: DriverHost; uid: Record<Side, string> }) {
    this.lab = lab;
    this.#authority = authority;
    this.a = a;
    this.b = b;
    this.uid = uid;
  }

  static async start(): Promise<DoorPair> {
    const lab = await Lab.start({ hosts: ["a", "b"] });
    const authority = await Authority.create("drover");
    const uid = { a: systemRandom.uuid(), b: systemRandom.uuid() };
    for (const side of ["a", "b"] as const) {
      const host = lab.host(side);
      mkdirSync(join(host.localDirectory, "doors"), { recursive: true });
      await host.run("ip", ["link", "add", BRIDGE, "type", "bridge"]);
      await host.run("ip", ["link", "set", BRIDGE, "up"]);
      const pem = await authority.issue({ commonName: side, uris: [uriOf("migration", uid[side])], names: [`${uid[side]}.migration.${TRUST_DOMAIN}`] });
      installQemuPki(join(host.directory, "etc/pki/qemu"), { ...pem, ca: authority.certificatePem }, { uid: 0, gid: 0 });
    }
    const [a, b] = await Promise.all([DriverHost.connect(lab.host("a")), DriverHost.connect(lab.host("b"))]);
    return new DoorPair(lab, authority, { a, b, uid });
  }

  host(side: Side): LabHost {
    return this.lab.host(side);
  }

  /** A certificate of the pair's authority as files that both hosts see. */
  async certificate(uri: string, names: string[] = [], authority = this.#authority): Promise<CertificateFiles> {
    const pem = await authority.issue({ commonName: "somebody", uris: [uri], names });
    const base = join(this.lab.poolDirectory, `certificate-${(this.#count += 1)}`);
    const files = { cert: `${base}.pem`, key: `${base}.key`, ca: `${base}-ca.pem` };
    writeFileSync(files.cert, pem.cert);
    writeFileSync(files.key, pem.key);
    writeFileSync(files.ca, this.#authority.certificatePem);
    return files;
  }

  node(side: Side, incarnation = 1): Promise<CertificateFiles> {
    return this.certificate(nodeUriOf(this.uid[side], incarnation), [`${this.uid[side]}.node.${TRUST_DOMAIN}`]);
  }

  /** The domain of machine `vm` as an agent on either host makes it, with an epoch. */
  intendedXml(vm: string, epoch: number): string {
    const local = this.host("a").localMount;
    const { kernelPath, initrdPath, kernelArguments } = this.lab.guest;
    const made = instance(
      {
        firmware: { uuid: this.uuid(vm), serial: "SN 1", kernelBoot: { pool: "shared", kernel: "vmlinuz", initrd: "initrd.img", kernelArgs: kernelArguments } },
        devices: { interfaces: [Interface.create({ name: "net", macAddress: "02:00:00:00:00:01" })], rng: {} },
      },
      { networks: [Network.create({ name: "net", source: { $case: "bridge", value: { bridgeName: BRIDGE } } })] },
    );
    made.metadata!.ownerReferences[0]!.name = vm;
    const ready = prepared({ kernel: { kernel: kernelPath, initrd: initrdPath } });
    ready.paths = { directory: local, consoleSocket: join(local, `${vm}.sock`), consoleLog: join(local, `${vm}.log`), nvram: join(local, `${vm}.fd`) };
    return domainXml(parts({ instance: made, prepared: ready, epoch }));
  }

  uuid(vm: string): string {
    return `5a6b0b2e-0e0c-4f5e-9d3a-${Buffer.from(vm.padEnd(6, "0").slice(0, 6)).toString("hex")}`;
  }

  async boot(vm: string): Promise<string> {
    const uuid = await this.a.hypervisor.define(this.intendedXml(vm, SOURCE_EPOCH));
    await this.a.hypervisor.create(uuid);
    await this.a.tick(vm, ({ count }) => count >= 1);
    return uuid;
  }

  /** What a's agent asks of libvirt for the way through `socket`. */
  async options(uuid: string, socket: string): Promise<MigrateOptions> {
    const [live, persistent] = await Promise.all([this.a.hypervisor.xml(uuid, "migratable"), this.a.hypervisor.xml(uuid, "inactive")]);
    return {
      destinationUri: `qemu+unix:///system?socket=${socket}`,
      migrationUri: this.memoryUri,
      destinationXml: replaceEpoch(live, TARGET_EPOCH),
      persistentXml: replaceEpoch(persistent, TARGET_EPOCH),
      disksKnownShared: true,
      tls: true,
      tlsDestination: `${this.uid.b}.migration.${TRUST_DOMAIN}`,
    };
  }

  get memoryUri(): string {
    return `tcp://${this.host("b").address}`;
  }

  /** A door on b for a's certificate and machine `vm`. */
  async door(vm: string): Promise<Running> {
    const base = join(this.host("b").localMount, "doors", systemRandom.uuid());
    const grant: DoorGrant = {
      kind: "door", migrationUid: systemRandom.uuid(), host: this.host("b").address, tls: await this.node("b"),
      peer: nodeUriOf(this.uid.a, 1), libvirtSocket: "/run/libvirt/libvirt-sock", memoryUri: this.memoryUri,
      intendedXml: this.intendedXml(vm, TARGET_EPOCH), stateFile: `${base}.json`, controlSocket: `${base}.sock`,
    };
    return Running.start(this.host("b"), grant, join(this.lab.directory, "door.log"));
  }

  /** The way from a's libvirt to that door. */
  async passage(door: Running, replace: Partial<PassageGrant> = {}): Promise<Running> {
    const base = join(this.host("a").localMount, "doors", systemRandom.uuid());
    const grant: PassageGrant = {
      kind: "passage", migrationUid: systemRandom.uuid(), door: door.standing.address, serverName: `${this.uid.b}.node.${TRUST_DOMAIN}`,
      tls: await this.node("a"), peer: nodeUriOf(this.uid.b, 1), stateFile: `${base}.json`, socket: `${base}.sock`, ...replace,
    };
    return Running.start(this.host("a"), grant, join(this.lab.directory, "door.log"));
  }

  log(): string {
    return readFileSync(join(this.lab.directory, "door.log"), "utf8");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.a[Symbol.asyncDispose](), this.b[Symbol.asyncDispose]()]);
    await this.lab[Symbol.asyncDispose]();
  }
}

const uriOf = (kind: "node" | "migration", uid: string): string => `spiffe://${TRUST_DOMAIN}/${kind}/${uid}/1`;
export const nodeUriOf = (uid: string, incarnation: number): string => `spiffe://${TRUST_DOMAIN}/node/${uid}/${incarnation}`;

export class DidNotOpen extends Error {
  override name = "DidNotOpen";
}

/** A door or a passage that runs on a host. */
export class Running {
  readonly standing: Standing;
  readonly #host: LabHost;

  private constructor(standing: Standing, host: LabHost) {
    this.standing = standing;
    this.#host = host;
  }

  static async start(host: LabHost, grant: Grant, logFile: string): Promise<Running> {
    const log = openSync(logFile, "a");
    const child = spawn("nsenter", ["-t", String(host.pid1), "-r", "-m", "-u", "-i", "-n", "-p", "--", process.execPath, PROGRAM], {
      stdio: ["pipe", "pipe", log], detached: true, env: {},
    });
    closeSync(log);
    child.stdin!.end(JSON.stringify(grant));
    const [line] = (await once(createInterface(child.stdout!), "line")) as [string];
    child.unref();
    const word = JSON.parse(line) as FirstWord;
    if ("failed" in word) throw new DidNotOpen(word.failed);
    return new Running(word.ready, host);
  }

  /** By its number outside the host; undefined when it has ended. */
  get pid(): number | undefined {
    return outsidePid(this.#host.pid1, this.standing.pid);
  }

  signal(signal: "SIGTERM" | "SIGKILL"): void {
    const { pid } = this;
    if (pid !== undefined) signalPid(pid, signal);
  }
}
