"""Pages that stand alone: PNG, HTML pieces and small SVG pictures, for whoever has something to show. Knows no log and no agent."""
