/**
 * Every text of a machine, found by walking the API's own description: what XML, a terminal or a log would take for more
 * than text is refused where it stands, and a new field cannot be forgotten here.
 */
import assert from "node:assert/strict";
import { fromBinary, ScalarType, toBinary } from "@bufbuild/protobuf";
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { CreateVirtualMachineRequest, VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { loadSchema } from "../../api-server/schema.ts";
import { wholeMachine } from "./api-machine.ts";
import { leavingNothing, ONCE, refusal, startServer } from "./api-process.ts";
import type { Server } from "./api-process.ts";

type Message = Record<string, unknown>;
type Text = { field: string; path: string; set(root: Message, text: string): void };

const schema = loadSchema();
const machineType = schema.message("drover.v1.VirtualMachine");

/** Not the caller's to say, so that what stands there is dropped. */
const OUTPUT_ONLY = new Set(["uid", "resource_version", "finalizers", "owner_references", "creation_timestamp", "deletion_timestamp", "digest"]);
/** May hold any character but controls: none of them is read by a parser as it stands. */
const FREE_TEXT = new Set(["drover.v1.KernelBoot.kernel_args", "drover.v1.SecretValue.value", "drover.v1.ObjectMeta.annotations"]);
/** May have lines, being files or notes. */
const WITH_LINES = new Set(["drover.v1.SecretValue.value", "drover.v1.ObjectMeta.annotations"]);

const nameOf = (field: DescField) => `${field.parent.typeName}.${field.name}`;

/** Every field of a text that the type leads to, whether a machine at hand has it or not. */
function declared(type: DescMessage, seen = new Set<DescMessage>()): string[] {
  if (seen.has(type) || type.typeName.startsWith("google.")) return [];
  seen.add(type);
  return type.fields.filter(({ name }) => !OUTPUT_ONLY.has(name) && name !== "status").flatMap((field) => {
    if (field.fieldKind === "message") return declared(field.message, seen);
    if (field.fieldKind === "list" && field.listKind === "message") return declared(field.message, seen);
    return isText(field) ? [nameOf(field)] : [];
  });
}

function isText(field: DescField): boolean {
  if (field.fieldKind === "scalar") return field.scalar === ScalarType.STRING;
  if (field.fieldKind === "list") return field.listKind === "scalar" && field.scalar === ScalarType.STRING;
  return field.fieldKind === "map" && field.mapKind === "scalar" && field.scalar === ScalarType.STRING;
}

/** The texts that this message has, each with how to replace it in a copy. */
function texts(type: DescMessage, message: Message, path: string, reach: (root: Message) => Message): Text[] {
  return type.fields.filter(({ name }) => !OUTPUT_ONLY.has(name) && name !== "status").flatMap((field): Text[] => {
    const chosen = field.oneof ? (message[field.oneof.localName] as { case?: string; value?: unknown }) : undefined;
    const value = chosen ? (chosen.case === field.localName ? chosen.value : undefined) : message[field.localName];
    if (value === undefined) return [];
    const at = `${path}.${field.name}`;
    const within = (root: Message) => (chosen ? (reach(root)[field.oneof!.localName] as Message)["value"] : reach(root)[field.localName]) as Message;
    const name = nameOf(field);
    switch (field.fieldKind) {
      case "message":
        return texts(field.message, value as Message, at, within);
      case "list":
        return (value as Message[]).flatMap((item, i) => (field.listKind === "message" ? texts(field.message, item, `${at}[${i}]`, (root) => within(root)[i] as Message) : []));
      case "map":
        return Object.keys(value as Message).flatMap((key) => [
          { field: name, path: `${at}[${JSON.stringify(key)}]`, set: (root, text) => { within(root)[key] = text; } },
        ]);
      case "scalar":
        if (field.scalar !== ScalarType.STRING) return [];
        return [{ field: name, path: at, set: (root, text) => {
          if (chosen) (reach(root)[field.oneof!.localName] as Message)["value"] = text;
          else reach(root)[field.localName] = text;
        } }];
      case "enum":
        return [];
    }
  });
}

const bytesOf = (name: string) => VirtualMachine.encode(wholeMachine({ name, namespace: "default" })).finish();
const bytes = bytesOf("web");
const all = texts(machineType, fromBinary(machineType, bytes) as unknown as Message, "virtual_machine", (root) => root);

function machineWith(place: Text, text: string, machine = bytes): VirtualMachine {
  const message = fromBinary(machineType, machine);
  place.set(message as unknown as Message, text);
  return VirtualMachine.decode(toBinary(machineType, message));
}

const CONTROLS = ["\u0000", "\u0007", "\u001b[2J", "\u007f", "\u0085", "\u009b31m"];
const LINES = ["a\nb", "a\rb", "a\tb"];
const MARKUP = ["<a/>", "&lt;", "]]>", "'><!--", '"><x y="', "a&b", "<![CDATA[x]]>", "\u2028<"];

describe("api-server, every text of a machine", function () {
  this.timeout(30_000);
  let server: Server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.[Symbol.asyncDispose]());

  const create = (virtualMachine: VirtualMachine) => server.user.machines.createVirtualMachine({ ...ONCE, virtualMachine });

  it("is among those that are tried", () => {
    const tried = new Set(all.map(({ field }) => field));
    assert.deepEqual([...new Set(declared(machineType))].filter((field) => !tried.has(field)), []);
    assert.ok(tried.size >= 20, [...tried].join());
  });

  for (const text of all) {
    it(`${text.path} takes no control character${FREE_TEXT.has(text.field) ? "" : " and no markup"}`, async () => {
      const hostile = [...CONTROLS, ...(WITH_LINES.has(text.field) ? [] : LINES), ...(FREE_TEXT.has(text.field) ? [] : MARKUP)];
      await leavingNothing(server, async () => {
        for (const sample of hostile) {
          const { code, fields } = await refusal(create(machineWith(text, sample)));
          assert.equal(code, "INVALID_ARGUMENT", JSON.stringify(sample));
          assert.ok(fields.has(text.path), `${JSON.stringify(sample)}: ${[...fields.keys()].join()}`);
        }
      });
    });
  }

  it("takes markup only where it is nothing but text, and gives it back as it came", async () => {
    for (const [i, text] of all.filter(({ field }) => FREE_TEXT.has(field)).entries()) {
      const sample = `<a b="c">&amp;']]>${i}`;
      const { virtualMachine } = await create(machineWith(text, sample, bytesOf(`free-${i}`)));
      const shown = JSON.stringify(virtualMachine);
      assert.equal(shown.includes(JSON.stringify(sample).slice(1, -1)), text.field !== "drover.v1.SecretValue.value", text.path);
    }
  });

  it("is not believed where it is the server's to say", async () => {
    const sent = wholeMachine({
      name: "claims", uid: "mine", generation: 7, resourceVersion: "7", finalizers: ["me\u0000"], creationTimestamp: new Date(0), deletionTimestamp: new Date(0),
      ownerReferences: [{ kind: "Node", name: "x", uid: "y" }],
    });
    sent.status = { ...VirtualMachine.create({ status: { lastEpoch: 99, nodeName: "a", ready: true } }).status! };
    const { virtualMachine } = await create(sent);
    const { metadata, status } = virtualMachine!;
    assert.deepEqual([metadata!.generation, metadata!.ownerReferences, metadata!.finalizers, metadata!.deletionTimestamp], [1, [], ["drover.dev/instance"], undefined]);
    assert.notEqual(metadata!.uid, "mine");
    assert.ok(metadata!.creationTimestamp!.getTime() > 0);
    assert.deepEqual([status!.lastEpoch, status!.nodeName, status!.ready], [0, "", false]);
  });

  it("comes to nothing when it is no UTF-8", async () => {
    await leavingNothing(server, async () => {
      const machine = CreateVirtualMachineRequest.encode({ ...ONCE, virtualMachine: wholeMachine({ name: "latin" }) }).finish();
      const at = Buffer.from(machine).indexOf("latin");
      const broken = Buffer.from(machine);
      broken.set([0xff, 0xc0, 0x80], at);
      assert.equal(await server.send("/drover.v1.VirtualMachineService/CreateVirtualMachine", broken), 3);
    });
  });
});
