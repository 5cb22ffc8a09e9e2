/** What a source may say: the recorded migration goes through unharmed, and every step aside is refused. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { gateFor, Gatekeeper } from "../../../../node-agent/door/gatekeeper.ts";
import { encodeFrame, FrameReader, keepalive, KEEPALIVE_PROGRAM, messageType, procedure, REMOTE_PROGRAM } from "../../../../node-agent/door/rpc.ts";
import type { Frame } from "../../../../node-agent/door/rpc.ts";
import { readParameters, writeParameters } from "../../../../node-agent/door/typed-params.ts";
import type { RpcParameter } from "../../../../node-agent/door/typed-params.ts";
import { xdr, XdrReader } from "../../../../node-agent/door/xdr.ts";
import { migrateFlag } from "../../../../node-agent/libvirt/constants.ts";
import { INTENDED_XML, MEMORY_URI, RECORDED_BYTES, recordedFrames } from "./recorded.ts";

const GATE = gateFor({ intendedXml: INTENDED_XML, memoryUri: MEMORY_URI });
const { PREPARE, FINISH } = { PREPARE: procedure.DOMAIN_MIGRATE_PREPARE3_PARAMS, FINISH: procedure.DOMAIN_MIGRATE_FINISH3_PARAMS };
const call = (called: number, body: Buffer = Buffer.alloc(0)): Frame =>
  ({ program: REMOTE_PROGRAM, version: 1, procedure: called, type: messageType.CALL, serial: 1, status: 0, body });
const open = (uri: string, flags = 0) => call(procedure.CONNECT_OPEN, Buffer.concat([xdr.uint(1), xdr.string(uri), xdr.uint(flags)]));

type Migrate = { parameters: RpcParameter[]; cookie: Buffer; flags: number; rest: Buffer };

function read({ body, procedure: called }: Frame): Migrate {
  const reader = new XdrReader(body);
  const [parameters, cookie, flags] = [readParameters(reader), reader.opaque(), reader.uint()];
  return { parameters, cookie, flags, rest: called === FINISH ? xdr.int(reader.int()) : Buffer.alloc(0) };
}

const recorded = (called: number): Frame => recordedFrames().find((frame) => frame.procedure === called && frame.program === REMOTE_PROGRAM)!;

function bent(called: number, bend: (migrate: Migrate) => Partial<Migrate>): Frame {
  const before = read(recorded(called));
  const { parameters, cookie, flags, rest } = { ...before, ...bend(before) };
  return call(called, Buffer.concat([writeParameters(parameters), xdr.opaque(cookie), xdr.uint(flags), rest]));
}

const withText = (name: string, change: (text: string) => string) => ({ parameters }: Migrate): Partial<Migrate> => ({
  parameters: parameters.map((parameter) => (parameter.name === name && "value" in parameter ? { name, value: change(parameter.value) } : parameter)),
});
const plus = (parameter: RpcParameter) => ({ parameters }: Migrate): Partial<Migrate> => ({ parameters: [...parameters, parameter] });
const withCookie = (change: (text: string) => string) => ({ cookie }: Migrate): Partial<Migrate> => ({ cookie: Buffer.from(change(cookie.toString())) });

/** A connection that has come as far as its first calls, and with `prepared` to the end of the transfer. */
function keeper({ prepared = false, gate = GATE } = {}): Gatekeeper {
  const made = new Gatekeeper(gate);
  made.admit(open("qemu:///system"));
  if (prepared) made.admit(recorded(PREPARE));
  return made;
}

describe("the gatekeeper", () => {
  it("lets a recorded migration through as it was", () => {
    const made = new Gatekeeper(GATE);
    const passed = Buffer.concat(recordedFrames().map((frame) => made.admit(frame)));
    const frames = new FrameReader(1 << 20).push(passed);
    assert.deepEqual(frames.map(({ procedure: called }) => called), recordedFrames().map(({ procedure: called }) => called));
    for (const [index, frame] of frames.entries()) {
      const original = recordedFrames()[index]!;
      if (frame.procedure !== PREPARE && frame.procedure !== FINISH) assert.deepEqual(frame, original);
      else assert.deepEqual(read(frame).parameters.map(({ name }) => name), read(original).parameters.map(({ name }) => name));
    }
  });

  it("does so in whatever pieces it comes", () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1 }), (sizes) => {
      const reader = new FrameReader(1 << 20);
      const frames: Frame[] = [];
      for (let [at, turn] = [0, 0]; at < RECORDED_BYTES.length; turn += 1) {
        const size = sizes[turn % sizes.length]!;
        frames.push(...reader.push(RECORDED_BYTES.subarray(at, at + size)));
        at += size;
      }
      assert.deepEqual(Buffer.concat(frames.map(encodeFrame)), RECORDED_BYTES);
    }), { numRuns: 50 });
  });

  it("serves no other procedure", () => {
    const known = new Set<number>(Object.values(procedure));
    const made = keeper({ prepared: true });
    for (let called = 0; called < 500; called += 1) {
      if (!known.has(called)) assert.throws(() => made.admit(call(called)), /is not served/, `procedure ${called}`);
    }
  });

  const refusals: [string, () => unknown, RegExp][] = [
    ["another program", () => keeper().admit({ ...call(1), program: 0x2000_8087 }), /Program/],
    ["a stream", () => keeper().admit({ ...call(1), type: 3 }), /type 3/],
    ["descriptors", () => keeper().admit({ ...call(1), type: 4 }), /type 4/],
    ["a reply", () => keeper().admit({ ...call(1), type: messageType.REPLY }), /type 1/],
    ["an error's status", () => keeper().admit({ ...call(1), status: 1 }), /no call/],
    ["another version", () => keeper().admit({ ...call(1), version: 2 }), /no call/],
    ["a keepalive that is none", () => keeper().admit({ ...call(3), program: KEEPALIVE_PROGRAM, type: messageType.MESSAGE }), /no keepalive/],
    ["a keepalive with a load", () => keeper().admit({ ...call(keepalive.PING, Buffer.alloc(4)), program: KEEPALIVE_PROGRAM, type: messageType.MESSAGE }), /no keepalive/],
    ["another driver", () => new Gatekeeper(GATE).admit(open("lxc:///system")), /not served/],
    ["the test driver with a file", () => new Gatekeeper(GATE).admit(open("test:///etc/shadow")), /not served/],
    ["another flag at the opening", () => new Gatekeeper(GATE).admit(open("qemu:///system", 2)), /not served/],
    ["a migration before the opening", () => new Gatekeeper(GATE).admit(recorded(PREPARE)), /not open/],
    ["a second one", () => keeper({ prepared: true }).admit(recorded(PREPARE)), /already begun/],
    ["an end without a beginning", () => keeper().admit(recorded(FINISH)), /No migration was prepared/],
    ["trailing bytes", () => keeper().admit(call(PREPARE, Buffer.concat([recorded(PREPARE).body, Buffer.alloc(4)]))), /More follows/],
    ["missing bytes", () => keeper().admit(call(PREPARE, recorded(PREPARE).body.subarray(0, -4))), /too early/],
    ["memory in the clear", () => keeper().admit(bent(PREPARE, ({ flags }) => ({ flags: flags & ~migrateFlag.TLS }))), /encrypted/],
    ["a tunnel", () => keeper().admit(bent(PREPARE, ({ flags }) => ({ flags: flags | migrateFlag.TUNNELLED }))), /not allowed/],
    ["images made here", () => keeper().admit(bent(PREPARE, ({ flags }) => ({ flags: flags | migrateFlag.NON_SHARED_DISK }))), /not allowed/],
    ["another address for memory", () => keeper().admit(bent(PREPARE, withText("migrate_uri", () => "tcp://0.0.0.0"))), /not received/],
    ["a socket for memory", () => keeper().admit(bent(PREPARE, withText("migrate_uri", () => "unix:///tmp/x"))), /not received/],
    ["a listening address", () => keeper().admit(bent(PREPARE, plus({ name: "listen_address", value: "0.0.0.0" }))), /not allowed/],
    ["a socket for disks", () => keeper().admit(bent(PREPARE, plus({ name: "disks_uri", value: "unix:///tmp/x" }))), /not allowed/],
    ["a port for disks", () => keeper().admit(bent(PREPARE, plus({ name: "disks_port", type: 1, encoded: xdr.int(1) }))), /not allowed/],
    ["a parameter that came later", () => keeper().admit(bent(PREPARE, plus({ name: "new.one", value: "x" }))), /not allowed/],
    ["a parameter twice", () => keeper().admit(bent(PREPARE, plus({ name: "migrate_uri", value: MEMORY_URI }))), /twice/],
    ["another name", () => keeper().admit(bent(PREPARE, plus({ name: "destination_name", value: "other" }))), /not the one/],
    ["no XML", () => keeper().admit(bent(PREPARE, ({ parameters }) => ({ parameters: parameters.filter(({ name }) => name !== "destination_xml") }))), /missing/],
    ["another XML", () => keeper().admit(bent(PREPARE, withText("destination_xml", (xml) => xml.replace("/pool/data.raw", "/pool/root.qcow2")))), /put together/],
    ["a cookie of another machine", () => keeper().admit(bent(PREPARE, withCookie((text) => text.replace("default_web_aaaaaaaa", "other")))), /another content/],
    ["a cookie that is none", () => keeper().admit(bent(PREPARE, withCookie(() => "<domain/>"))), /no migration cookie/],
    ["a server for disks in the cookie", () => keeper().admit(bent(PREPARE, withCookie((text) => text.replace("</qemu-migration>", "<nbd port='1'/></qemu-migration>")))), /may not be there/],
    ["another machine's end", () => keeper({ prepared: true }).admit(bent(FINISH, withText("destination_name", () => "other"))), /not the one/],
    ["an end of nobody", () => keeper({ prepared: true }).admit(bent(FINISH, ({ parameters }) => ({ parameters: parameters.filter(({ name }) => name !== "destination_name") }))), /missing/],
    ["another definition at the end", () => keeper({ prepared: true }).admit(bent(FINISH, withCookie((text) => text.replace("<rng model='virtio'>", "<hostdev mode='subsystem'/><rng model='virtio'>")))), /hostdev may not be there/],
    ["another address at the end", () => keeper({ prepared: true }).admit(bent(FINISH, withText("migrate_uri", (uri) => `${uri}0.evil`))), /not received/],
  ];
  for (const [what, act, reason] of refusals) it(`refuses ${what}`, () => assert.throws(act, reason));

  it("lets what has begun end when the grant is over, and nothing begin", () => {
    const begun = keeper({ prepared: true });
    begun.close();
    assert.throws(() => begun.admit(call(procedure.AUTH_LIST)), /over/);
    assert.ok(begun.admit(recorded(FINISH)).length > 0);
    assert.ok(begun.admit(call(procedure.CONNECT_CLOSE)).length > 0);
    const fresh = keeper();
    fresh.close();
    assert.throws(() => fresh.admit(recorded(PREPARE)), /over/);
  });

  describe("where disks come along", () => {
    const copying = (how: "overlays" | "full", devices = ["vda"]) =>
      keeper({ gate: gateFor({ intendedXml: INTENDED_XML, memoryUri: MEMORY_URI, copied: { devices, how } }) });
    const disk = (value: string): RpcParameter => ({ name: "migrate_disks", value });
    const NBD = "<nbd><disk target='vda' capacity='67108864'/></nbd>";
    const offer = ({ flag = migrateFlag.NON_SHARED_INC, disks = ["vda"], nbd = NBD }: { flag?: number; disks?: string[]; nbd?: string } = {}) => bent(PREPARE, (migrate) => ({
      flags: migrate.flags | flag,
      parameters: [...migrate.parameters, ...disks.map(disk)],
      ...withCookie((text) => text.replace("</qemu-migration>", `${nbd}</qemu-migration>`))(migrate),
    }));

    it("lets the granted ones through, in the way that was granted", () => {
      const passed = read(new FrameReader(1 << 20).push(copying("overlays").admit(offer()))[0]!);
      assert.deepEqual(passed.parameters.filter(({ name }) => name === "migrate_disks"), [disk("vda")]);
      assert.match(passed.cookie.toString(), /<disk target="vda" capacity="67108864"\/>/);
      assert.ok(copying("full").admit(offer({ flag: migrateFlag.NON_SHARED_DISK })));
      assert.ok(copying("overlays", ["vda", "vdb"]).admit(offer({ disks: ["vdb", "vda"] })));
    });

    const steps: [string, () => unknown, RegExp][] = [
      ["none of them", () => copying("overlays").admit(offer({ disks: [] })), /not those that are to be copied/],
      ["one more", () => copying("overlays").admit(offer({ disks: ["vda", "vdb"] })), /not those that are to be copied/],
      ["one twice", () => copying("overlays").admit(offer({ disks: ["vda", "vda"] })), /not those that are to be copied/],
      ["another one", () => copying("overlays").admit(offer({ disks: ["vdb"] })), /not those that are to be copied/],
      ["no way of copying", () => copying("overlays").admit(offer({ flag: 0 })), /not copied as it was settled/],
      ["the other way", () => copying("overlays").admit(offer({ flag: migrateFlag.NON_SHARED_DISK })), /not allowed/],
      ["both ways", () => copying("full").admit(offer({ flag: migrateFlag.NON_SHARED_DISK | migrateFlag.NON_SHARED_INC })), /not allowed/],
      ["a disk without a grant", () => keeper().admit(offer({ flag: 0, nbd: "" })), /not those that are to be copied/],
      ["a port of the source's choice", () => copying("overlays").admit(offer({ nbd: "<nbd port='22'/>" })), /may have no port/],
      ["the size of a disk that is none", () => copying("overlays").admit(offer({ nbd: "<nbd><disk target='vdz' capacity='1'/></nbd>" })), /another target/],
      ["sizes where nothing is copied", () => keeper().admit(offer({ flag: 0, disks: [] })), /nbd may not be there/],
      ["a size that is none", () => copying("overlays").admit(offer({ nbd: "<nbd><disk target='vda' capacity='/etc'/></nbd>" })), /another capacity/],
      ["more sizes than disks", () => copying("overlays").admit(offer({ nbd: NBD.replace("</nbd>", `${"<disk target='vda' capacity='1'/>".repeat(8)}</nbd>`) })), /one too many/],
      ["dirty bitmaps", () => copying("overlays").admit(offer({ nbd: NBD.replace("/></nbd>", "><bitmap/></disk></nbd>") })), /may not be there/],
      ["a socket for disks", () => copying("overlays").admit(bent(PREPARE, plus({ name: "disks_uri", value: "unix:///tmp/x" }))), /not/],
      ["an end with other disks", () => {
        const made = copying("overlays");
        made.admit(offer());
        made.admit(bent(FINISH, ({ flags }) => ({ flags: flags | migrateFlag.NON_SHARED_INC })));
      }, /not those that are to be copied/],
    ];
    for (const [what, act, reason] of steps) it(`refuses ${what}`, () => assert.throws(act, reason));
  });

  it("never passes on bytes that it did not understand", () => {
    const original = recorded(PREPARE).body;
    const intended = keeper().admit(recorded(PREPARE)).subarray(28);
    fc.assert(fc.property(fc.integer({ min: 0, max: original.length - 1 }), fc.integer({ min: 0, max: 255 }), (at, value) => {
      const body = Buffer.from(original);
      body[at] = value;
      let passed: Buffer;
      try {
        passed = keeper().admit(call(PREPARE, body)).subarray(28);
      } catch {
        return;
      }
      // Words and numbers may differ; every path and name of the host's must still be the intended one.
      const paths = (bytes: Buffer) => [...bytes.toString("latin1").matchAll(/\/[\w./-]{3,}/g)].map(([path]) => path).sort();
      assert.deepEqual(paths(passed), paths(intended));
    }), { numRuns: 200 });
  });

  it("takes no message that is too long, or too short to be one", () => {
    const long = Buffer.alloc(4);
    long.writeUInt32BE(1 << 21);
    assert.throws(() => new FrameReader(1 << 20).push(long), /not taken/);
    assert.throws(() => new FrameReader(1 << 20).push(Buffer.from([0, 0, 0, 27])), /not taken/);
  });

  it("survives whatever comes", () => {
    const made = keeper({ prepared: true });
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), fc.constantFrom(...Object.values(procedure)), (bytes, called) => {
      try {
        made.admit(call(called, Buffer.from(bytes)));
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    }), { numRuns: 500 });
  });
});
