/** `apply`: brings objects to what the files say, creating those that are missing. */
import { isDeepStrictEqual } from "node:util";
import { ClientError, Status } from "nice-grpc-common";
import type { Manifest } from "../../lib/manifest/parse.ts";
import { command, text } from "../command.ts";
import { RefusedManifest, UsageError } from "../failure.ts";
import type { Resource } from "../kinds/kind.ts";
import { kindNamed } from "../kinds/names.ts";
import { ObjectClient } from "../objects.ts";
import { objectName, printDone } from "../print.ts";
import { hasStatus, patiently } from "../session.ts";
import type { Session } from "../session.ts";
import { readManifests } from "../manifests.ts";

export const apply = command({
  path: ["apply"],
  summary: "Create or change objects from a YAML or JSON file",
  flags: { file: text("-f, --filename <file>", 'file, or "-" for standard input') },
  more: "What users own (spec, labels, annotations) becomes what the file says. A file may hold several documents.",
  async run({ flags, session }) {
    if (flags.file === undefined) throw new UsageError("-f FILE is required");
    // All of the file is read before anything is sent: a fault at its end changes nothing.
    for (const manifest of await readManifests(flags.file)) await applyOne(session, manifest);
  },
});

type Outcome = "created" | "configured" | "unchanged";

async function applyOne(session: Session, manifest: Manifest): Promise<void> {
  const kind = await kindNamed(manifest.kind);
  const objects = new ObjectClient(kind, session);
  const sent = withNamespace(kind.codec.decode(manifest.bytes), kind.namespaced ? manifest.namespace || session.namespace : "");
  try {
    const { object, outcome } = await bring(session, objects, sent);
    await printDone(session.out, { kind, object, said: outcome });
  } catch (error) {
    if (!(error instanceof ClientError) || hasStatus(error, Status.UNAVAILABLE)) throw error;
    throw new RefusedManifest(error, objectName(kind, manifest.name), (path) => {
      const { file, line, column } = manifest.locate(path);
      return `${file}:${line}:${column}: `;
    });
  }
}

function withNamespace(object: Resource, namespace: string): Resource {
  return { ...object, metadata: { ...object.metadata!, namespace } };
}

/** Looks first, so that it can say what it did. What is not there is created; what came meanwhile is changed. */
async function bring(session: Session, objects: ObjectClient<Resource>, sent: Resource): Promise<{ object: Resource; outcome: Outcome }> {
  const { namespace, name } = sent.metadata!;
  const before = await patiently(session, () => find(objects, { namespace, name }));
  if (!before) {
    try {
      const unversioned = { ...sent, metadata: { ...sent.metadata!, resourceVersion: "", uid: "" } };
      return { object: await objects.create(unversioned), outcome: "created" };
    } catch (error) {
      if (!hasStatus(error, Status.ALREADY_EXISTS)) throw error;
    }
  }
  const object = await objects.update(sent);
  return { object, outcome: before && sameWish(before, object) ? "unchanged" : "configured" };
}

async function find(objects: ObjectClient<Resource>, key: { namespace: string; name: string }): Promise<Resource | undefined> {
  try {
    return await objects.get(key);
  } catch (error) {
    if (hasStatus(error, Status.NOT_FOUND)) return undefined;
    throw error;
  }
}

/** The status moves by itself; only what users own counts. */
function sameWish({ metadata: before }: Resource, { metadata: after }: Resource): boolean {
  return before?.generation === after?.generation
    && isDeepStrictEqual(before?.labels, after?.labels)
    && isDeepStrictEqual(before?.annotations, after?.annotations);
}
