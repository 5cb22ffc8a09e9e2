/** Manifests to messages: `apiVersion`, `kind`, metadata and spec of each document, in Drover's words or KubeVirt's. */
import { fromJson, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, JsonObject } from "@bufbuild/protobuf";
import { isMap, isScalar, isSeq } from "yaml";
import type { Node, YAMLMap } from "yaml";
import { readMessage } from "./reader.ts";
import { kindMessage, registry } from "./registry.ts";
import { ManifestError, Source, nodeAt } from "./source.ts";
import type { Location } from "./source.ts";

export { ManifestError, faultLine } from "./source.ts";
export type { Location, ManifestFault } from "./source.ts";

export const API_VERSION = "drover.dev/v1";

const KINDS = ["VirtualMachine", "VirtualMachineInstance", "VirtualMachineInstanceMigration", "Node", "Namespace", "Volume", "Role", "RoleBinding", "MigrationPolicy"] as const;
/** Which kinds may stand under which version: Drover's own, and those of KubeVirt whose fields mean the same. */
const VERSIONS: ReadonlyMap<string, readonly string[]> = new Map<string, readonly string[]>([
  [API_VERSION, KINDS],
  ["kubevirt.io/v1", KINDS.slice(0, 3)],
  ["migrations.kubevirt.io/v1alpha1", ["MigrationPolicy"]],
]);

/** `status` is what the system says and is dropped, as kubectl does. */
const NOT_READ = new Set(["apiVersion", "kind", "status", "metadata"]);
/** What Kubernetes puts into metadata and means nothing here; its versions are not Drover's. */
const KUBERNETES_METADATA = new Set(["managedFields", "selfLink", "resourceVersion", "uid", "generation", "finalizers", "ownerReferences"]);

export type Manifest = {
  kind: string;
  /** Empty where the file gives none. */
  namespace: string;
  name: string;
  /** The message of the kind, encoded. */
  bytes: Uint8Array;
  at: Location;
  /** Where a field that the server names, such as "virtual_machine.spec.run_strategy", stands in the file. */
  locate(fieldPath: string): Location;
};

/** Every document of the text, in its order. Throws ManifestError with all faults. `file` is how faults name the text. */
export function parseManifests(text: string, file: string): Manifest[] {
  const source = new Source(file);
  const manifests = source.documents(text).flatMap((document) => {
    source.enter(document);
    return itemsOf(document.contents).map((item) => parseOne(source, item));
  });
  if (source.faults.length > 0) throw new ManifestError(source.faults);
  const complete = manifests.filter((manifest) => manifest !== undefined);
  if (complete.length === 0) throw new ManifestError([{ file, line: 1, column: 1, path: "", message: "holds no object" }]);
  return complete;
}

/** A List stands for its items. */
function itemsOf(contents: unknown): unknown[] {
  const items: unknown = isMap(contents) && contents.get("kind") === "List" ? contents.get("items", true) : undefined;
  return isSeq(items) ? items.items : [contents];
}

function parseOne(source: Source, contents: unknown): Manifest | undefined {
  const root = source.resolve(contents);
  if (!isMap(root)) return source.note(root, "", "must be an object with apiVersion, kind, metadata and spec");
  const head = readHead(source, root);
  if (!head) return undefined;
  const { kind, foreign } = head;
  const type = kindMessage(kind);
  const body = readMessage(type, { source, node: root, path: "" }, { skip: NOT_READ });
  const metadata = readMetadata(source, root, foreign);
  if (!body || !metadata || source.faults.length > 0) return undefined;
  const bytes = encode(source, root, { type, json: { ...body, metadata } });
  if (!bytes) return undefined;
  const text = (key: string) => (typeof metadata[key] === "string" ? metadata[key] : "");
  return {
    kind,
    name: text("name"),
    namespace: text("namespace"),
    bytes,
    at: source.locate(root),
    locate: (fieldPath) => source.locate(nodeAt(root as YAMLMap, fieldPath)),
  };
}

/** What the walk let through and the codec refuses, such as text that is no Unicode. */
function encode(source: Source, root: Node, { type, json }: { type: DescMessage; json: JsonObject }): Uint8Array | undefined {
  try {
    return toBinary(type, fromJson(type, json, { registry: registry() }));
  } catch (error) {
    return source.note(root, "", error instanceof Error ? error.message : String(error));
  }
}

function readHead(source: Source, root: YAMLMap): { kind: string; foreign: boolean } | undefined {
  const apiVersion = scalarText(root, "apiVersion");
  const kind = scalarText(root, "kind");
  const before = source.faults.length;
  const known = VERSIONS.get(apiVersion ?? "");
  if (!known) source.note(root.get("apiVersion", true) ?? root, "apiVersion", `must be ${[...VERSIONS.keys()].join(" or ")}`);
  const foreign = apiVersion !== API_VERSION;
  const kinds = known ?? KINDS;
  if (kind === undefined || !kinds.includes(kind)) source.note(root.get("kind", true) ?? root, "kind", `must be one of ${kinds.join(", ")}`);
  return kind === undefined || source.faults.length > before ? undefined : { kind, foreign };
}

function readMetadata(source: Source, root: YAMLMap, foreign: boolean): JsonObject | undefined {
  const node: unknown = root.get("metadata", true);
  if (node === undefined || node === null) return source.note(root, "metadata", "is required, with a name");
  const metadata = readMessage(kindMessage("ObjectMeta"), { source, node, path: "metadata" }, foreign ? { skip: KUBERNETES_METADATA } : {});
  if (metadata && (metadata["name"] === undefined || metadata["name"] === "")) source.note(node, "metadata.name", "is required");
  return metadata;
}

function scalarText(map: YAMLMap, key: string): string | undefined {
  const node = map.get(key, true) as Node | undefined;
  return isScalar(node) && typeof node.value === "string" ? node.value : undefined;
}
