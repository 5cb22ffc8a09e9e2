/** What an agent says to the control plane, as text, so that equal words are one. */
import type { MigrationSourceReport, MigrationTargetReport, OwnerReport } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { State } from "./state.ts";

export type Said =
  | { kind: "claim" }
  | { kind: "owner"; report: OwnerReport }
  | { kind: "source"; migrationUid: string; report: MigrationSourceReport }
  | { kind: "target"; migrationUid: string; report: MigrationTargetReport };

/** `version` is the record that the agent had when it said it; a late one is a copy that comes again. */
export type Word = { host: number; by: number; epoch: number; version: string; late: boolean; said: Said };

export const pack = (word: Word): string => JSON.stringify(word);
export const unpack = (text: string): Word => JSON.parse(text) as Word;

/** A newer word of the same agent and kind takes the place of the one that waits. */
export function say(state: State, word: Word): State {
  const others = state.words.filter((text) => {
    const { host, by, said, late } = unpack(text);
    return late || host !== word.host || by !== word.by || said.kind !== word.said.kind;
  });
  const words = [...new Set([...others, pack(word)])].toSorted();
  return { ...state, words };
}

export const without = (state: State, text: string): State => ({ ...state, words: state.words.filter((other) => other !== text) });
