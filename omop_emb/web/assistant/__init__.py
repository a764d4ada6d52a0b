"""Assistant: the tools of assistants that speak MCP, over stdin and stdout or at /mcp of the application."""
