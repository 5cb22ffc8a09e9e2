/** Waiting for one object, by watching it: ends with what was waited for, a reason why it cannot come, or the time. */
import { DeadlineExceeded, deadline } from "../lib/clock.ts";
import { CommandFailed } from "./failure.ts";
import { follow } from "./follow.ts";
import type { Resource } from "./kinds/kind.ts";
import type { Key, ObjectClient } from "./objects.ts";
import { objectName } from "./print.ts";
import type { Session } from "./session.ts";

/** `undefined` goes on waiting. */
export type Verdict = { done: true } | { failed: string } | undefined;

export type WaitOptions<T> = {
  timeoutMs: number;
  /** For the message when the time is over: "to run". */
  what: string;
  /** Called with undefined when the object does not exist, or no longer. */
  judge: (object: T | undefined) => Verdict | Promise<Verdict>;
  /** Why it is not there yet, asked when the time is over. */
  explain?: () => Promise<string>;
};

/** Throws CommandFailed with the reason. */
export async function waitFor<T extends Resource>(session: Session, objects: ObjectClient<T>, key: Key, options: WaitOptions<T>): Promise<void> {
  using limited = deadline(session.clock, options.timeoutMs, session.signal);
  const selection = { namespace: key.namespace, fieldSelector: `metadata.name=${key.name}` };
  let seen = false;
  for await (const change of follow(objects, selection, { ...session, signal: limited.signal })) {
    if (change.type === "synced" && seen) continue;
    seen ||= change.type !== "synced";
    const verdict = await options.judge(change.type === "synced" || change.type === "deleted" ? undefined : change.object);
    if (verdict && "failed" in verdict) throw new CommandFailed(`${objectName(objects.kind, key.name)}: ${verdict.failed}`);
    if (verdict) return;
  }
  session.signal.throwIfAborted();
  if (!(limited.signal.reason instanceof DeadlineExceeded)) return;
  const why = (await options.explain?.()) ?? "";
  const waited = `timed out after ${options.timeoutMs / 1000} s waiting for ${objectName(objects.kind, key.name)} ${options.what}`;
  throw new CommandFailed(why === "" ? waited : `${waited}: ${why}`);
}
