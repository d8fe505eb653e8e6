-- The launcher looks at its databases again when this commits.
SELECT ff_engine.announce_installation();
