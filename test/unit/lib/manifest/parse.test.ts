/** Manifests: what is taken, what is refused with its place, and that nothing is lost on the way there and back. */
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { stringify } from "yaml";
import { ManifestError, parseManifests } from "../../../../lib/manifest/parse.ts";
import { renderManifest } from "../../../../lib/manifest/render.ts";
import { VirtualMachine, RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";
import { DiskBus, EvictionStrategy } from "../../../../gen/drover/v1/machine.ts";
import { Node } from "../../../../gen/drover/v1/node.ts";

const EXAMPLES = join(import.meta.dirname, "../../../../docs/examples");

const machine = (spec: string, { apiVersion = "drover.dev/v1", metadata = "{name: web}" } = {}) =>
  `apiVersion: ${apiVersion}\nkind: VirtualMachine\nmetadata: ${metadata}\nspec:\n${spec.replaceAll(/^/gm, "  ")}\n`;

const parseMachine = (text: string) => VirtualMachine.decode(parseManifests(text, "vm.yaml")[0]!.bytes);

function faultsOf(text: string): string[] {
  try {
    parseManifests(text, "vm.yaml");
  } catch (error) {
    if (error instanceof ManifestError) return error.message.split("\n");
    throw error;
  }
  return assert.fail("the manifest was taken");
}

describe("parseManifests", () => {
  for (const file of readdirSync(EXAMPLES)) {
    it(`takes docs/examples/${file}, and its own rendering of it`, () => {
      const [first] = parseManifests(readFileSync(join(EXAMPLES, file), "utf8"), file);
      const rendered = renderManifest(first!.kind, first!.bytes);
      const [again] = parseManifests(stringify(rendered), file);
      // A secret is never rendered, so that it is the one thing that is missing.
      assert.deepEqual(renderManifest(again!.kind, again!.bytes), rendered);
    });
  }

  it("takes short and full enum names, plain secrets, nulls, zeros and quantities as they are written", () => {
    const vm = parseMachine(machine(`
runStrategy: RUN_STRATEGY_RERUN_ON_FAILURE
template:
  metadata: {creationTimestamp: null}
  spec:
    evictionStrategy: LiveMigrateIfPossible
    terminationGracePeriodSeconds: 0
    domain:
      memory: {guest: 1073741824.0e0}
      devices: {rng: null, disks: [{name: a, disk: {bus: scsi}}]}
    volumes: [{name: a, cloudInitNoCloud: {userData: "#cloud-config"}}]`));
    const spec = vm.spec?.template?.spec;
    assert.equal(vm.spec?.runStrategy, RunStrategy.RERUN_ON_FAILURE);
    assert.equal(spec?.evictionStrategy, EvictionStrategy.LIVE_MIGRATE_IF_POSSIBLE);
    assert.equal(spec?.terminationGracePeriodSeconds, 0);
    assert.equal(spec?.domain?.memory?.guest, "1073741824.0e0");
    assert.equal(spec?.domain?.devices?.rng, undefined);
    assert.deepEqual(spec?.domain?.devices?.disks[0]?.device, { $case: "disk", value: { bus: DiskBus.SCSI, readonly: false, _unknownFields: {} } });
    const source = spec?.volumes[0]?.source;
    assert.equal(source?.$case === "cloudInitNoCloud" && source.value.userData?.value, "#cloud-config");
  });

  it("reports every fault at once, each with its line, column and path", () => {
    const text = machine(`
runStrategy: always
running: true
template:
  spec:
    domain: {cpu: {cores: 4294967296, sockets: 1.5, threads: "2"}, memory: {gest: 1Gi}}
    volumes:
      - name: a
        containerDisk: {image: x}
      - name: b
        emptyDisk: {capacity: 1Gi}
        disk: {pool: p}`, { metadata: "{name: web, labels: {a: 1, b: true}}" });
    assert.deepEqual(faultsOf(text), [
      'vm.yaml:3:35: metadata.labels["a"]: must be a string: put 1 in quotes',
      'vm.yaml:3:41: metadata.labels["b"]: must be a string: put true in quotes',
      'vm.yaml:6:16: spec.runStrategy: must be one of Always, RerunOnFailure, Manual, Halted, Once: it is "always"',
      "vm.yaml:7:3: spec.running: not supported: use runStrategy (Always in place of true, Halted in place of false)",
      "vm.yaml:10:29: spec.template.spec.domain.cpu.cores: must be from 0 to 4294967295: it is 4294967296",
      "vm.yaml:10:50: spec.template.spec.domain.cpu.sockets: must be a whole number from 0 to 4294967295: it is 1.5",
      'vm.yaml:10:64: spec.template.spec.domain.cpu.threads: must be a whole number from 0 to 4294967295: it is "2"',
      'vm.yaml:10:79: spec.template.spec.domain.memory.gest: unknown field, did you mean "guest"?; allowed here: guest',
      "vm.yaml:13:11: spec.template.spec.volumes[0].containerDisk: not supported: use disk {pool, image}, which names an image in a pool of the node",
      'vm.yaml:16:11: spec.template.spec.volumes[1].disk: only one of disk, emptyDisk, cloudInitNoCloud is allowed, and "emptyDisk" stands here already',
    ]);
  });

  it("refuses foreign kinds and versions, missing names and duplicate keys", () => {
    assert.match(faultsOf("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n").join("\n"), /apiVersion: must be drover\.dev\/v1 or kubevirt\.io\/v1[^]*kind: must be one of/);
    assert.match(faultsOf("apiVersion: kubevirt.io/v1\nkind: Node\nmetadata: {name: a}\n").join("\n"), /2:7: kind: must be one of VirtualMachine, /);
    assert.match(faultsOf("apiVersion: drover.dev/v1\nkind: Namespace\nmetadata: {labels: {}}\n").join("\n"), /metadata\.name: is required/);
    assert.match(faultsOf("apiVersion: drover.dev/v1\nkind: Namespace\nmetadata: {name: a, name: b}\n").join("\n"), /vm\.yaml:3:2\d: Map keys must be unique/);
    assert.match(faultsOf("# nothing\n").join("\n"), /holds no object/);
  });

  it("ends on aliases that blow up and on nesting without end", () => {
    const levels = Array.from({ length: 12 }, (_, level) => `a${level}: &a${level} [${Array.from({ length: 10 }, () => (level === 0 ? "{}" : `*a${level - 1}`)).join(", ")}]`);
    const bomb = `apiVersion: drover.dev/v1\nkind: Node\nmetadata: {name: a}\nspec: {taints: &x [{key: a}]}\n${levels.join("\n")}\n`;
    assert.ok(faultsOf(bomb).length > 0);
    assert.ok(faultsOf("[".repeat(20_000)).length > 0);
    assert.ok(faultsOf(`x: "${"y".repeat(1024 * 1024)}"`).length === 1);
  });

  it("reads several documents and Lists, drops status, and keeps Drover's versions but not Kubernetes'", () => {
    const object = (apiVersion: string) => ({ apiVersion, kind: "VirtualMachine", metadata: { name: "a", resourceVersion: "7" }, spec: { runStrategy: "Once" }, status: { ready: true, junk: 1 } });
    const text = `${stringify(object("drover.dev/v1"))}---\n${stringify({ apiVersion: "v1", kind: "List", items: [object("kubevirt.io/v1")] })}---\n# empty\n`;
    const [own, foreign, ...rest] = parseManifests(text, "-").map(({ bytes }) => VirtualMachine.decode(bytes));
    assert.deepEqual([own?.metadata?.resourceVersion, foreign?.metadata?.resourceVersion, rest.length], ["7", "", 0]);
    assert.equal(own?.status, undefined);
  });

  it("finds the place of a field that the server names", () => {
    const text = machine("runStrategy: Once\ntemplate:\n  spec:\n    volumes:\n      - name: a\n        emptyDisk: {capacity: 1Gi}");
    const [manifest] = parseManifests(text, "vm.yaml");
    assert.deepEqual(manifest!.locate("virtual_machine.spec.run_strategy"), { file: "vm.yaml", line: 5, column: 16 });
    assert.deepEqual(manifest!.locate("virtual_machine.spec.template.spec.volumes[0].empty_disk.capacity"), { file: "vm.yaml", line: 10, column: 33 });
    assert.equal(manifest!.locate("virtual_machine.spec.template.spec.domain").line, 8);
  });

  it("gives back every node spec that it renders", () => {
    const label = fc.string({ minLength: 1, maxLength: 20 }).filter((text) => text !== "__proto__");
    fc.assert(fc.property(fc.dictionary(label, fc.string()), fc.boolean(), fc.integer({ min: 0, max: 2 ** 32 - 1 }), (annotations, unschedulable, maxCpus) => {
      const node = Node.create({ metadata: { name: "a", annotations }, spec: { unschedulable, maxCpus, taints: [{ key: "k", effect: 1 }] } });
      const text = stringify(renderManifest("Node", Node.encode(node).finish()));
      const [again] = parseManifests(text, "-");
      assert.deepEqual(Node.toJSON(Node.decode(again!.bytes)), Node.toJSON(node));
    }));
  });
});

describe("renderManifest", () => {
  it("shows 64-bit numbers as numbers, times as RFC 3339 and never a secret", () => {
    const vm = VirtualMachine.create({
      metadata: { name: "a", generation: 2 ** 40, creationTimestamp: new Date(Date.UTC(2026, 0, 2)) },
      spec: { runStrategy: RunStrategy.ONCE, template: { spec: { volumes: [{ name: "s", source: { $case: "cloudInitNoCloud", value: { userData: { value: "hidden", digest: "sha256:1" } } } }] } } },
    });
    const rendered = renderManifest("VirtualMachine", VirtualMachine.encode(vm).finish());
    assert.deepEqual(rendered["metadata"], { name: "a", generation: 2 ** 40, creationTimestamp: "2026-01-02T00:00:00Z" });
    assert.deepEqual(rendered["spec"], { runStrategy: "Once", template: { spec: { volumes: [{ name: "s", cloudInitNoCloud: { userData: { digest: "sha256:1" } } }] } } });
  });
});
