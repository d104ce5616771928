"""How a command ends: the exit codes, and what is said when a gateway refuses.

==== =============================================
0    done
1    refused by the gateway, which said why
2    wrong usage
3    no gateway answered at the address
==== =============================================
"""

from __future__ import annotations

from turnout.errors import TurnoutError, UnreachableError

DONE, REFUSED, USAGE, UNREACHABLE = range(4)

_ADVICE = {
    "INVALID_ARGUMENT": "correct what the message names; --help says what the command takes",
    "NOT_FOUND": "see what there is: turnout models list, turnout features list, turnout experiments list",
    "ALREADY_EXISTS": "choose another name, or work with the one that exists",
    "ABORTED": "it changed since you looked: look again, and try again with what you see then",
    "FAILED_PRECONDITION": "bring it into the state that the message names, then try again",
    "RESOURCE_EXHAUSTED": "a limit is reached: try again later, or send less at once",
    "DEADLINE_EXCEEDED": "no answer in time: see turnout status; whether a change was made is not known, so look",
    "UNIMPLEMENTED": "the gateway at this address does not offer this: is it the port that the option names?",
    "UNAUTHENTICATED": "show a token that counts: --token-file FILE or TURNOUT_TOKEN; see turnout tokens create",
    "PERMISSION_DENIED": "ask who runs the gateway for the role that the message names",
    "UNAVAILABLE": "try again in a moment; turnout status says what the gateway is doing",
}


def exit_code(error: TurnoutError) -> int:
    """Return the exit code that an error stands for."""
    return UNREACHABLE if isinstance(error, UnreachableError) else REFUSED


def explain(error: TurnoutError) -> str:
    """Return what stderr says of an error: the reason, the sentence, the facts, and what to do next."""
    if isinstance(error, UnreachableError):
        return (
            f"not reachable: {error.message}\n"
            "next: start a gateway with `turnout serve --state DIR`, or give its address: "
            "--server or TURNOUT_SERVER for the control port, --data-server or TURNOUT_DATA_SERVER for the data port"
        )
    lines = [f"refused: {error.reason}: {error.message}"]
    if error.facts:
        lines.append("facts: " + ", ".join(f"{name}={value}" for name, value in sorted(error.facts.items())))
    lines.append("next: " + _ADVICE.get(error.code, "see the gateway's log"))
    return "\n".join(lines)
