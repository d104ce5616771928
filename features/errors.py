"""What can go wrong with features."""

from __future__ import annotations

from storage.errors import ExhaustedError, InvalidError, MissingError, PreconditionError, UnavailableError


class DefinitionInvalidError(InvalidError):
    """A definition file cannot be understood."""

    reason = "FEATURE_DEFINITION_INVALID"


class FeatureSqlInvalidError(InvalidError):
    """A statement is not one SELECT over the declared sources, or does not give the columns that are asked of it."""

    reason = "FEATURE_SQL_INVALID"


class SourceUnreadableError(InvalidError):
    """A declared source cannot be read."""

    reason = "FEATURE_SOURCE_UNREADABLE"


class CodeMissingError(InvalidError):
    """A definition names code that the gateway does not have."""

    reason = "FEATURE_CODE_MISSING"


class CodeChangedError(InvalidError):
    """The code of a view is not what it was when the view was applied."""

    reason = "FEATURE_CODE_CHANGED"


class CodeFailedError(InvalidError):
    """The code of a view raised, or gave no table."""

    reason = "FEATURE_CODE_FAILED"


class ViewMissingError(MissingError):
    """No feature view has this name."""

    reason = "FEATURE_VIEW_MISSING"


class SetMissingError(MissingError):
    """No feature set has this name, or none of this name has this digest."""

    reason = "FEATURE_SET_MISSING"


class SetChangedError(PreconditionError):
    """A feature set is not any more what a version was trained on."""

    reason = "FEATURE_SET_CHANGED"


class FeatureRowInvalidError(InvalidError):
    """A row to be written is not one of its view."""

    reason = "FEATURE_ROW_INVALID"


class PageTokenInvalidError(InvalidError):
    """A page token is not one that a list gave."""

    reason = "PAGE_TOKEN_INVALID"


class SchemaNumbersSpentError(ExhaustedError):
    """A view had more layouts than a value's header can number."""

    reason = "FEATURE_SCHEMAS_SPENT"


class StoreUrlError(InvalidError):
    """The address of the online store is of no known kind."""

    reason = "ONLINE_STORE_URL"


class StoreUnavailableError(UnavailableError):
    """The online store does not answer within its budget."""

    reason = "ONLINE_STORE_UNAVAILABLE"


class StoreFullError(ExhaustedError):
    """The online store has no room for more values."""

    reason = "ONLINE_STORE_FULL"


class OfflineQueryError(ExhaustedError):
    """A query over the offline store ran into its limits."""

    reason = "OFFLINE_QUERY_LIMIT"
