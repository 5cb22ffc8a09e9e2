/** `delete`: by name or by file; with --wait until the object is gone. */
import { Status } from "nice-grpc-common";
import { command, count, duration, text, toggle } from "../command.ts";
import { UsageError } from "../failure.ts";
import type { Kind, Resource } from "../kinds/kind.ts";
import { kindNamed, targets } from "../kinds/names.ts";
import { gone } from "../machine-state.ts";
import { readManifests } from "../manifests.ts";
import { ObjectClient } from "../objects.ts";
import { objectName, printName } from "../print.ts";
import { hasStatus } from "../session.ts";
import type { Session } from "../session.ts";
import { waitFor } from "../wait.ts";
import { WAIT_MS, whyMachine } from "./verbs.ts";

export const remove = command({
  path: ["delete"],
  summary: "Delete objects",
  args: ["[kind]", "[names...]"],
  flags: {
    file: text("-f, --filename <file>", 'what the file names, or "-" for standard input'),
    wait: toggle("--wait", "return when they are gone"),
    timeout: duration("--timeout <duration>", "how long to wait", WAIT_MS),
    grace: count("--grace-period <seconds>", "for instances: time for the guest to shut down", 86_400),
    missing: toggle("--ignore-not-found", "an object that does not exist is no failure"),
  },
  async run({ args, flags, session }) {
    for (const { kind, namespace, name } of await named(args, flags.file, session)) {
      await deleteOne(session, { kind, namespace, name, ...flags });
    }
  },
});

type Target = { kind: Kind; namespace: string; name: string };

async function named(args: string[], file: string | undefined, session: Session): Promise<Target[]> {
  if (file === undefined) {
    const { kind, names } = await targets(args);
    if (names.length === 0) throw new UsageError("a KIND and a NAME are required, or -f FILE");
    return names.map((name) => ({ kind, namespace: kind.namespaced ? session.namespace : "", name }));
  }
  if (args.length > 0) throw new UsageError("-f FILE cannot be combined with names");
  const manifests = await readManifests(file);
  const found = manifests.map(async ({ kind: kindName, namespace, name }) => {
    const kind = await kindNamed(kindName);
    return { kind, namespace: kind.namespaced ? namespace || session.namespace : "", name };
  });
  return (await Promise.all(found)).reverse();
}

type Options = Target & { wait: boolean; timeout: number; grace: number | undefined; missing: boolean };

async function deleteOne(session: Session, { kind, namespace, name, wait, timeout, grace, missing }: Options): Promise<void> {
  const objects = new ObjectClient(kind, session);
  const uid = await deleted(objects, { namespace, name, grace, missing });
  if (uid === undefined) return;
  if (wait) {
    const explain = () => (kind.kind === "VirtualMachine" ? whyMachine(session, { namespace, name }) : Promise.resolve(""));
    await waitFor(session, objects, { namespace, name }, { timeoutMs: timeout, what: "to be gone", judge: gone(uid), explain });
  }
  printName(session.out, objectName(kind, name), "deleted");
}

type Deletion = { namespace: string; name: string; grace: number | undefined; missing: boolean };

/** The uid of what was deleted; undefined when there was nothing and that is no failure. */
async function deleted(objects: ObjectClient<Resource>, { namespace, name, grace, missing }: Deletion): Promise<string | undefined> {
  try {
    const object = await objects.remove({ namespace, name, ...(grace !== undefined && { gracePeriodSeconds: grace }) });
    return object.metadata?.uid ?? "";
  } catch (error) {
    if (missing && hasStatus(error, Status.NOT_FOUND)) return undefined;
    throw error;
  }
}
