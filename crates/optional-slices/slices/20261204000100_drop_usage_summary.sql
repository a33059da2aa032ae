-- contract: the code that used the table was removed a release before, or there is none.
DROP TABLE usage_summaries;
