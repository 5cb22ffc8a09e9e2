/** The port that decides what callers may do. RBAC over Drover's own records is one way (`rights.ts`); others can stand in. */
import type { Caller } from "../objects.ts";

export type Question = {
  verb: string;
  /** Such as "VirtualMachine". */
  kind: string;
  /** Empty for kinds without one, and to ask about all of them. */
  namespace: string;
  /** Empty asks about every object. */
  name: string;
};

/** `reason` is for people; it says nothing of any object. */
export type Decision = { allowed: boolean; reason: string };

/** Where a caller may list and watch a kind; no namespace at all is an empty list. */
export type Scopes = "all" | readonly string[];

export interface Authorizer {
  decide(caller: Caller, question: Question): Promise<Decision>;
  scopes(caller: Caller, question: Pick<Question, "verb" | "kind">): Promise<Scopes>;
  /** Tells of every change that may alter an answer; streams ask again then. Answers how to stop that. */
  onChange(listener: () => void): () => void;
}
